package http2

import "encoding/binary"

// drain is how far the end of a connection has come that closes in order.
type drain uint8

const (
	drainNot  drain = iota
	drainSaid       // the client knows that it should open no more streams; those that are on their way are served
	drainLast       // it knows which was the last
)

const (
	drainPing = "portico."    // comes back when the client has heard that we drain
	drainWait = 1_000_000_000 // for it
)

// Drain tells the client to open no more streams (RFC 9113, 6.8); those that are open, or on their way, finish.
func (c *Conn) Drain() {
	if c.over || c.drain != drainNot {
		return
	}
	if !c.greeted {
		c.endsWell()
		return
	}
	c.drain, c.since = drainSaid, c.now
	c.goAway(windowMost, codeNone)
	c.add(framePing, 0, 0, []byte(drainPing)...)
}

// drainLast says which stream is the last one that is served.
func (c *Conn) drainLast() {
	c.drain, c.limit = drainLast, c.lastID
	c.goAway(c.lastID, codeNone)
	c.last()
}

// last ends the connection with its last stream, where one of both sides wants that.
func (c *Conn) last() {
	if c.held == 0 && (c.drain == drainLast || c.left) {
		c.over = true
	}
}

// endsWell ends a connection without streams.
func (c *Conn) endsWell() {
	c.goAway(c.lastID, codeNone)
	c.over = true
}

func (c *Conn) goAway(last uint32, why code) {
	c.add(frameGoAway, 0, 0, byte(last>>24), byte(last>>16), byte(last>>8), byte(last), byte(why>>24), byte(why>>16), byte(why>>8), byte(why))
}

// goAwayFrame takes the client's: it opens no more streams, so the connection ends with the last one.
func (c *Conn) goAwayFrame(f frame, p []byte) Event {
	switch {
	case f.id != 0:
		return c.fail(codeProtocol)
	case len(p) < 8:
		return c.fail(codeFrameSize)
	case !c.idle(1):
		return Event{}
	}
	c.left = true
	if o := c.origin; o != nil {
		o.shed, o.served = true, binary.BigEndian.Uint32(p)&^(1<<31)
	}
	c.last()
	return Event{}
}
