package conn

import (
	"portico/proxy/exchange"
	"portico/proxy/wire"
)

// inside is what serving inside a read of the client's leaves behind.
type inside struct {
	try    func(fd uintptr) bool // made once
	looked bool
	s      *session // has something to do outside; nil: the connection has ended
}

// serveInside waits for requests and serves them all inside one read of the runtime's, until one needs what cannot be done there. From
// the moment that the read begins, no event of the connection is lost: where each of many reads would have to look in vain before it
// waits, this one only waits. It returns nil when the connection has ended or run into its deadline.
func (c *client) serveInside() *session {
	if c.inside.try == nil {
		c.inside.try = c.tryServe
	}
	c.io.timedOut, c.inside.looked = false, false
	if err := c.io.raw.Read(c.inside.try); err != nil {
		c.io.timedOut = isTimeout(err)
		return nil
	}
	s := c.inside.s
	c.inside.s = nil
	return s
}

// tryServe is the callback of the read; false waits. It borrows a session, and with it a buffer, only when there is something to read.
func (c *client) tryServe(fd uintptr) bool {
	if !c.inside.looked {
		if c.inside.looked = true; quiet(fd) {
			return false
		}
	}
	for {
		s := c.session()
		n, err := c.io.receive(fd, s.x.Space(exchange.Client))
		if n <= 0 {
			s.leave()
			return err != errAgain // our own value, and this runs for every request
		}
		c.idle.Store(false)
		s.x.Read(exchange.Client, n, wire.More)
		s.inside = true
		op := s.run()
		s.inside = false
		if op != exchange.OpIdle {
			c.inside.s = s
			return true
		}
		c.served = s.x.HasServed()
		s.leave()
		if !c.rest() {
			return true
		}
		if !c.io.more {
			return false
		}
	}
}
