package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"portico/conf"
	"portico/internal/takeover"
)

// beLameDuck ends a proxy from which another process has taken over: it accepts
// nothing any more, its clients are told to come again with their last answers, and what runs may
// finish.
func (p *Proxy) beLameDuck(ctx context.Context, s *takeover.Successor) error {
	limit := p.conf.Proxy.Timeouts.Drain.Std()
	p.log.Info("handed over: running requests may finish", "pid", s.PID, "version", s.Who.Version, "limit", limit.String())
	p.successors.Close()
	p.sockets.Close()
	if p.child.Is(s.PID) {
		p.notify(fmt.Sprintf("MAINPID=%d", s.PID))
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	end, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	life, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	words := make(chan string)
	p.wg.Go(func() { p.hear(life, end, s, words) })
	p.wg.Go(func() { p.outlive(ctx, end, s, words, cut) })
	p.sendClientsAway(drain, limit/3, s)
	err := p.web.Shutdown(end)
	p.leaveSessions(s)
	if end.Err() != nil {
		err = nil // outlive has said so
	}
	cut(nil)
	if p.inherited != nil {
		p.relay(ctx, s)
	}
	over()
	for range words { // until nobody listens to s any more
	}
	s.Close()
	p.Close()
	return err
}

// sendClientsAway accepts nobody any more, tells each client with its next answer to come again, and waits for those who say
// something. Who has said nothing for a third of the time is about as likely to do so in the next moment as in the
// two thirds to come; those are for requests and upgraded connections.
func (p *Proxy) sendClientsAway(ctx context.Context, third time.Duration, s *takeover.Successor) {
	now, cancel := context.WithCancel(ctx)
	cancel()
	p.web.LameDuck(now)
	p.leaveSessions(s)
	quiet, cancel := context.WithTimeout(ctx, third)
	defer cancel()
	p.web.LameDuck(quiet)
}

var (
	errDrained   = errors.New("it is longer than proxy.timeouts.drain after the take-over, and no stream is left")
	errTooLong   = errors.New("it is longer than proxy.timeouts.tunnels after the take-over")
	errToldToEnd = errors.New("the proxy stops")
)

// streamsLook is how often a former process counts what it still has, and streamsLeave how often it hands over
// what it knows of sessions: their streams keep them alive.
const (
	streamsLook  = time.Second
	streamsLeave = time.Minute
)

// outlive lets a process from which another has taken over live for as long as its upgraded connections and
// event streams do, and says how many there are. It cuts what is left when that has gone on for too long, or one of
// the two processes is told to stop. Requests that are running have the drain time, as ever.
func (p *Proxy) outlive(ctx, end context.Context, s *takeover.Successor, words <-chan string, cut context.CancelCauseFunc) {
	t := p.conf.Proxy.Timeouts
	began := time.Now()
	note := newDuckNote(p.conf.Dir, began, t.Tunnels.Std(), p.log)
	defer note.remove()
	look, leave := time.NewTicker(streamsLook), time.NewTicker(streamsLeave)
	defer look.Stop()
	defer leave.Stop()
	stop, told := ctx.Done(), false
	for {
		select {
		case <-end.Done():
			return
		case <-stop:
			stop, told = nil, true
		case member, ok := <-words:
			switch {
			case !ok: // it has died, and another one will come: the streams are none the worse for it
				words = nil
				leave.Stop()
			case member != "":
				p.web.Distrust(member)
			default:
				told = true
			}
		case <-leave.C:
			p.leaveSessions(s)
		case <-look.C:
		}
		n, lasted := p.web.Streams(), time.Since(began)
		note.tell(n)
		if why := lastsTooLong(lasted, t, n, told); why != nil {
			p.log.Warn("what is left of requests and streams is cut", "why", why, "streams", n)
			cut(why)
			return
		}
	}
}

// lastsTooLong returns why a former process with so many streams ends, so long after another has taken over; nil: it
// does not yet.
func lastsTooLong(lasted time.Duration, t conf.ProxyTimeouts, streams int, told bool) error {
	switch {
	case lasted < t.Drain.Std():
		return nil
	case told:
		return errToldToEnd
	case streams == 0:
		return errDrained
	case lasted >= t.Tunnels.Std():
		return errTooLong
	}
	return nil
}

// hear passes on what the successor says, to the process before this one as well, until life is over or the successor has
// ended. After end nobody else here wants to know.
func (p *Proxy) hear(life, end context.Context, s *takeover.Successor, words chan<- string) {
	defer close(words)
	for {
		name, err := s.Word(life)
		if err != nil {
			return
		}
		switch {
		case p.predecessor == nil:
		case name == "":
			_ = p.predecessor.End()
		default:
			_ = p.predecessor.Cut(name)
		}
		select {
		case words <- name:
		case <-end.Done():
		}
	}
}

// relay waits for the process before this one, which may have streams yet: what it knows of their sessions finds
// its way to the successor by way of this one.
func (p *Proxy) relay(ctx context.Context, s *takeover.Successor) {
	relayUntil(ctx.Done(), p.inherited, func() { _ = p.predecessor.End() }, func() bool {
		p.web.Balancer().Sessions().SweepAll(p.web.Now().UnixMilli())
		return p.leaveSessions(s)
	})
}

// relayUntil leaves what there is again and again until gone, and passes a stop on. A successor that takes nothing
// has died: nothing can be left to it any more.
func relayUntil(stop, gone <-chan struct{}, end func(), leave func() bool) {
	again := time.NewTicker(streamsLeave)
	defer again.Stop()
	for {
		select {
		case <-gone:
			leave()
			return
		case <-stop:
			stop = nil
			end()
		case <-again.C:
			if !leave() {
				again.Stop()
				leave = func() bool { return false }
			}
		}
	}
}

// leaveSessions hands the table of sessions to the successor, which has counted some
// itself by now, and reports whether that went well.
func (p *Proxy) leaveSessions(s *takeover.Successor) bool {
	file, err := os.CreateTemp(p.conf.Dir, sessionsFile+".*.tmp")
	if err == nil {
		defer func() { _ = file.Close() }()
		err = errors.Join(os.Remove(file.Name()), p.web.Balancer().SaveSessions(file), s.Leave(sessionsFile, file))
	}
	if err != nil {
		p.log.Warn("sessions not handed over: the new process counts them as their visitors come back", "error", err)
	}
	return err == nil
}
