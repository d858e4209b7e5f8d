package loop

import "portico/proxy/loop/handshakes"

// waiter is a socket that waits for its handshake.
type waiter struct {
	l   *loop
	s   *sock
	gen uint32
}

// shakes returns the line that a socket's handshake belongs to: visitors must not keep instances waiting.
func (l *loop) shakes(s *sock) *handshakes.Limit[waiter] {
	if s.kind == kindUpstream {
		return &l.srv.upstreamShakes
	}
	return &l.srv.clientShakes
}

// turned: the turn of a socket has come. One that is gone passes it on.
func (l *loop) turned(s *sock, gen uint32) {
	if s.gen != gen || l.socks[s.fd] != s || s.tls.state != tlsWaiting {
		passOn(l.shakes(s))
		return
	}
	l.shakeNow(s)
}

// passOn ends a handshake, and tells the loop of the socket that is first in line that its turn has come.
func passOn(line *handshakes.Limit[waiter]) {
	if w, ok := line.Leave(); ok {
		w.l.post(message{kind: messageTurn, s: w.s, gen: w.gen})
	}
}
