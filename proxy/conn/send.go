package conn

import (
	"portico/proxy/exchange"
	"portico/proxy/wire"
)

// sending writes a request and waits for its answer inside one read of the runtime's: from the moment that it begins, no event of the
// connection is lost, so nothing has to be read in vain before the wait.
type sending struct {
	sendFn func(fd uintptr) bool // trySend, made once
	sent   bool                  // all of it
	acted  bool                  // something was done
	gone   bool                  // the idle connection was closed, or bytes came that answer nobody
	got    int
	gotErr error
}

// trySend is the callback: at first it writes, then it reads.
func (s *session) trySend(fd uintptr) bool {
	if s.sent {
		s.got, s.gotErr = s.u.io.receive(fd, s.x.Space(exchange.Up))
		return s.gotErr != errAgain // our own value, and this runs for every request
	}
	s.acted = true
	if s.u.idle {
		s.u.idle = false
		if !quiet(fd) {
			s.gone = true
			return true
		}
	}
	a, b := s.x.Pending(exchange.Up)
	n, err := sysWrite(fd, a, b)
	switch {
	case err == errAgain:
		s.full = true
		return true
	case err != nil:
		s.u.io.broke(err)
		s.x.Wrote(exchange.Up, n, wire.Failed)
		return true
	}
	s.x.Wrote(exchange.Up, n, wire.More)
	if s.next = s.x.Next(); s.next != exchange.OpReadUpstream || s.x.Tunnel() || s.forks() {
		return true
	}
	s.next = exchange.OpWait
	s.deadline(&s.u.io, false)
	s.sent = true
	return false
}

// send writes what waits for the upstream, as far as it takes it at once, and when that was all of a request, reads the beginning of
// the answer.
func (s *session) send() {
	k := &s.u.io
	s.sent, s.acted, s.gone, k.timedOut = false, false, false, false
	err := k.raw.Read(s.sendFn)
	if isTimeout(err) && !s.acted && !s.u.cutOff() && !s.left() { // a deadline from before
		k.want = s.c.srv.clock() + int64(look)
		k.again()
		err = k.raw.Read(s.sendFn)
	}
	switch {
	case s.gone:
		s.x.Read(exchange.Up, 0, wire.EOF)
	case s.sent && err == nil:
		s.heard(k.outcome(s.got, ended(s.got, s.gotErr)))
	case s.sent:
		s.heard(k.outcome(0, err))
	case err != nil && s.left():
		s.now()
		s.late(wire.Blocked)
	case err != nil:
		s.now()
		s.x.Wrote(exchange.Up, 0, wire.Failed)
	}
}
