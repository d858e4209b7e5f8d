package http2

import "portico/proxy/wire"

const (
	dataRoom  = 48 << 10 // pending bytes beyond which no DATA is added
	inputRoom = 64 << 10 // pending bytes beyond which nothing is read: the client takes nothing of what it asked for
	pieceMin  = 2 << 10  // DATA is not cut smaller for want of room
)

// output is what waits to be written to the client.
type output struct {
	out   []byte // borrowed; nil: nothing
	o     int    // out[:o] is written
	taken int64  // when the client last took something, or something began to wait
	mute  bool   // the client is gone: nothing is added
	stuck bool   // the driver holds what the client does not take

	writing bool   // Pending was given away: its bytes stay where they are until Wrote
	moved   []byte // where they stood when out had to be moved meanwhile
}

// Pending returns the bytes to write to the client. They stand until Wrote, which must follow, be it with no bytes.
func (c *Conn) Pending() []byte {
	c.writing = c.writing || c.pending() > 0
	return c.out[c.o:]
}

// Wrote reports that n bytes of Pending were written. Blocked: the client takes no more for now, be it of what Wrote has told before; a
// call with another result says that it does. Failed: the client is gone.
func (c *Conn) Wrote(n int, res wire.Result) {
	c.writing = false
	if was := c.stuck; res == wire.Blocked {
		if c.stuck = true; !was {
			c.taken = c.now
		}
	} else {
		c.stuck = false
	}
	if c.moved != nil {
		c.mem.Put(c.moved)
		c.moved = nil
	}
	if n > 0 {
		c.taken = c.now
	}
	if c.out != nil {
		c.o += n
		if c.o == len(c.out) {
			c.freeOut()
		}
	}
	if res == wire.Failed || res == wire.EOF {
		c.lost()
	}
}

// Waits reports whether output waits for a client that takes none of it for now. A driver that can see how much the system holds looks then
// whether that gets less, and says Took.
func (c *Conn) Waits() bool { return c.pending() > 0 || c.stuck && !c.mute }

// Took says that the client has taken bytes of which Wrote has told before, or of a write that is still under way.
func (c *Conn) Took() { c.taken = c.now }

// freeOut gives the buffer back, or leaves that to Wrote.
func (c *Conn) freeOut() {
	if c.out != nil {
		c.leave(c.out)
		c.out, c.o = nil, 0
	}
}

// leave gives up a buffer that the driver may be writing.
func (c *Conn) leave(b []byte) {
	b = b[:cap(b)]
	if c.writing && c.moved == nil {
		c.moved = b
		return
	}
	c.mem.Put(b)
}

func (c *Conn) pending() int { return len(c.out) - c.o }

// full reports whether so much waits that nothing more is taken in.
func (c *Conn) full() bool { return c.pending() >= inputRoom }

// roomOut makes sure that n bytes can be appended to out.
func (c *Conn) roomOut(n int) {
	switch {
	case c.out == nil:
		c.out, c.o = c.mem.Get(n)[:0], 0
		c.taken = c.now
	case len(c.out)+n <= cap(c.out):
	case c.pending()+n <= cap(c.out) && c.o >= c.pending() && !c.writing:
		c.out = c.out[:copy(c.out, c.out[c.o:])]
		c.o = 0
	default:
		b := c.mem.Get(max(c.pending()+n, min(2*cap(c.out), inputRoom)))
		k := copy(b, c.out[c.o:])
		c.leave(c.out)
		c.out, c.o = b[:k], 0
	}
}

// add appends a frame with a short payload.
func (c *Conn) add(kind, flags byte, id uint32, payload ...byte) {
	if c.mute {
		return
	}
	c.roomOut(frameHead + len(payload))
	c.out = append(appendFrame(c.out, len(payload), kind, flags, id), payload...)
}

func (c *Conn) addReset(id uint32, why code) {
	c.add(frameReset, 0, id, byte(why>>24), byte(why>>16), byte(why>>8), byte(why))
}
