package http2

import (
	"encoding/binary"

	"portico/proxy/http2/priority"
)

// pingFrame answers (RFC 9113, 6.7). Our own comes back when the client has heard all that was said before.
func (c *Conn) pingFrame(f frame, p []byte) Event {
	switch {
	case len(p) != 8:
		return c.fail(codeFrameSize)
	case f.id != 0:
		return c.fail(codeProtocol)
	case !c.idle(1):
	case !f.has(flagAck):
		c.add(framePing, flagAck, 0, p...)
	case c.drain == drainSaid && string(p) == drainPing:
		c.drainLast()
	}
	return Event{}
}

// resetFrame ends a stream by the client's will (RFC 9113, 6.4).
func (c *Conn) resetFrame(f frame, p []byte) Event {
	switch {
	case len(p) != 4:
		return c.fail(codeFrameSize)
	case f.id&1 == 0, f.id > c.lastID && c.drain != drainLast:
		return c.fail(codeProtocol) // idle
	}
	s := c.find(f.id)
	if s == nil {
		c.parted(f.id)
		c.idle(1)
		return Event{}
	}
	if c.origin != nil {
		return c.resetByOrigin(s, code(binary.BigEndian.Uint32(p)))
	}
	c.detach(s, false)
	if !c.gaveUp() {
		return Event{} // cut tells it
	}
	s.gone = true
	return Event{EventReset, s}
}

// priorityFrame takes what RFC 7540 thought up and nobody obeys (RFC 9113, 6.3).
func (c *Conn) priorityFrame(f frame, p []byte) Event {
	s := c.find(f.id)
	switch {
	case f.id == 0:
		return c.fail(codeProtocol)
	case len(p) != 5 && s != nil:
		return c.wrong(s, codeFrameSize)
	case len(p) != 5:
		return c.fail(codeFrameSize)
	case binary.BigEndian.Uint32(p)&^(1<<31) == f.id && s != nil:
		return c.wrong(s, codeProtocol)
	case binary.BigEndian.Uint32(p)&^(1<<31) == f.id:
		return c.fail(codeProtocol)
	}
	c.idle(1)
	return Event{}
}

// priorityUpdate changes the urgency of an answer (RFC 9218, 7.1), be it one whose request has not come yet.
func (c *Conn) priorityUpdate(f frame, p []byte) Event {
	if len(p) < 4 {
		return c.fail(codeFrameSize)
	}
	id := binary.BigEndian.Uint32(p) &^ (1 << 31)
	if f.id != 0 || id == 0 || id&1 == 0 {
		return c.fail(codeProtocol)
	}
	if !c.idle(1) {
		return Event{}
	}
	if s := c.find(id); s != nil {
		c.reorder(s, priority.Parse(p[4:]))
	} else if id > c.lastID {
		if c.foretold == nil {
			c.foretold = new(priority.Foretold)
		}
		c.foretold.Keep(id, priority.Parse(p[4:]))
	}
	return Event{}
}
