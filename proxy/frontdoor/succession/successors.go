package succession

import (
	"sync"

	"portico/internal/takeover"
)

// Successors are the processes that want to take over, as they come. Nil and the
// zero value hear nothing.
type Successors struct {
	listener *takeover.Listener
	came     chan *takeover.Successor
	done     chan struct{}
	wg       sync.WaitGroup
}

// Listen begins to listen for successors at path.
func Listen(path string, who takeover.Who, refused func(error)) (*Successors, error) {
	listener, err := takeover.Listen(path, who)
	if err != nil {
		return nil, err
	}
	s := &Successors{listener: listener, came: make(chan *takeover.Successor), done: make(chan struct{})}
	s.wg.Go(func() { s.listen(refused) })
	return s, nil
}

func (s *Successors) listen(refused func(error)) {
	for {
		one, err := s.listener.Accept(refused)
		if err != nil {
			return
		}
		select {
		case s.came <- one:
		case <-s.done:
			one.Close()
			return
		}
	}
}

// Next is where those come who want to take over.
func (s *Successors) Next() <-chan *takeover.Successor {
	if s == nil {
		return nil
	}
	return s.came
}

// Close ends it; the socket in the folder is the successor's.
func (s *Successors) Close() {
	if s == nil || s.listener == nil {
		return
	}
	close(s.done)
	_ = s.listener.Close()
	s.wg.Wait()
	s.listener = nil
}

// Withdraw ends it for a process that stops without a successor.
func (s *Successors) Withdraw() {
	if s != nil && s.listener != nil {
		s.listener.Withdraw()
		s.Close()
	}
}
