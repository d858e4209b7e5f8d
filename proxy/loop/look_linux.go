package loop

import (
	"time"

	"portico/internal/unsent"
	"portico/proxy/exchange"
)

// owedLook is how often a connection that closes is looked at while its client is owed bytes.
const owedLook = int64(time.Second)

// look tells an exchange how much of what its sides were sent the system holds for them, where it wants to know.
func (l *loop) look(s *session) {
	if s.x.Asks(exchange.Client) {
		s.x.Holds(exchange.Client, s.c.held())
	}
	if s.x.Asks(exchange.Up) {
		s.x.Holds(exchange.Up, s.u.held())
	}
}

// held is how many bytes of what was written the other side has not acknowledged, with the ciphertext that waits to be written; below 0:
// nobody tells.
func (s *sock) held() int {
	if s == nil || s.kind == kindStream || s.kind == kindCall {
		return -1
	}
	n := unsent.HeldFor(uintptr(s.fd))
	if s.tls != nil && n >= 0 {
		n += len(s.tls.mem.out) - s.tls.mem.sent
	}
	return n
}

// owing lets a connection that closes wait for its client to take what it is owed, as long as an answer would wait.
func (l *loop) owing(c *sock) {
	c.deadline = c.tls.last
	if w := int64(l.srv.opt.Timeouts.Write); w > 0 {
		c.deadline = min(l.now+w, c.deadline)
	}
	l.schedule(c, min(c.deadline, l.now+owedLook))
}

// takes reports whether the client of a connection that closes has taken some of what it is owed since it was looked at last.
func (l *loop) takes(c *sock) bool {
	return c.tls != nil && c.tls.closing && c.tls.owed.Look(l.now, c.held(), l.srv.opt.Timeouts.MinRate)
}
