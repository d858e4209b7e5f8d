package frontdoor

import (
	"errors"
	"sync"

	"portico/internal/takeover"
)

// successors are the processes that want to take over, as they come. Nil and the
// zero value hear nothing.
type successors struct {
	listener *takeover.Listener
	came     chan *takeover.Successor
	done     chan struct{}
	wg       sync.WaitGroup
}

// invite begins to listen for a successor. Where that cannot be, the next process
// waits until this one has ended.
func (p *Proxy) invite() {
	if p.successors == nil {
		return // this kind of process cannot be taken over
	}
	listener, err := takeover.Listen(p.path(takeoverSocket), p.who())
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		p.log.Info("take-overs by a new process do not exist on this system: a restart refuses connections for a moment")
		return
	case err != nil:
		p.log.Warn("no process can take over from this one: a restart refuses connections for a moment", "error", err)
		return
	}
	s := &successors{listener: listener, came: make(chan *takeover.Successor), done: make(chan struct{})}
	s.wg.Go(func() { s.listen(func(err error) { p.log.Warn("take-over refused", "error", err) }) })
	p.successors = s
}

func (s *successors) listen(refused func(error)) {
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

// next is where those come who want to take over.
func (s *successors) next() <-chan *takeover.Successor {
	if s == nil {
		return nil
	}
	return s.came
}

// close ends it; the socket in the folder is the successor's.
func (s *successors) close() {
	if s == nil || s.listener == nil {
		return
	}
	close(s.done)
	_ = s.listener.Close()
	s.wg.Wait()
	s.listener = nil
}

// withdraw ends it for a proxy that stops without a successor.
func (p *Proxy) withdraw() {
	if p.successors != nil && p.successors.listener != nil {
		p.successors.listener.Withdraw()
		p.successors.close()
	}
}
