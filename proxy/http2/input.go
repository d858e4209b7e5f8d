package http2

import "portico/proxy/wire"

const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113, 3.4

	smallIn  = 8 << 10
	largeIn  = 32 << 10 // at least one frame
	blockMax = 64 << 10 // a header block as it comes, whatever it says
)

// input is what has come of the client and was not looked at yet.
type input struct {
	in      []byte // borrowed; nil: nothing is there
	r, w    int    // in[r:w] was not looked at
	reading bool   // Space was given away: the buffer stays
	bulk    bool   // the last read filled its space
	known   int    // bytes of the preface that have come
	seen    uint32 // frames

	skip     int     // bytes of a frame that nobody needs
	data     *Stream // whose DATA is being read, nil: nobody's any more
	dataLeft int     // of its bytes
	padLeft  int     // of its padding
	dataEnd  bool    // END_STREAM is on it
	lent     *Stream // may Read in[lentAt:lentEnd] until the next event
	lentAt   int
	lentEnd  int

	blockID    uint32 // stream of the header block that CONTINUATION frames complete, 0: none
	blockFlags byte
	blockSelf  bool   // it makes the stream depend on itself
	block      []byte // borrowed
	headSince  int64  // when an incomplete header block has begun, 0: none
}

// Space returns where to read the client's bytes into; nil: read nothing now, because nobody takes the output, or because the connection
// is over. Read must follow, be it with no bytes.
func (c *Conn) Space() []byte {
	if c.over || c.full() {
		return nil
	}
	if c.reading {
		return c.in[c.w:]
	}
	c.spill()
	need := c.wants()
	size := smallIn
	if c.bulk || c.w-c.r+need > smallIn {
		size = largeIn
	}
	c.roomIn(size, need)
	c.reading = true
	return c.in[c.w:]
}

// wants tells how many bytes of a frame that must come whole are missing, at least one.
func (c *Conn) wants() int {
	b := c.in[c.r:c.w]
	if c.known < len(preface) || c.dataLeft > 0 || c.skip > 0 || len(b) < frameHead {
		return 1
	}
	if f := parseFrame(b); f.kind != frameData {
		return max(min(f.length, frameMost)+frameHead-len(b), 1)
	}
	return 1
}

// roomIn makes room for n bytes behind those that are there.
func (c *Conn) roomIn(size, n int) {
	switch {
	case c.in == nil:
		c.in, c.r, c.w = c.mem.Get(size), 0, 0
	case c.r == c.w && len(c.in) >= size:
		c.r, c.w = 0, 0
	case len(c.in) < size:
		b := c.mem.Get(size)
		c.w = copy(b, c.in[c.r:c.w])
		c.mem.Put(c.in)
		c.in, c.r = b, 0
	case len(c.in)-c.w < n || c.r > len(c.in)/2:
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	}
}

// Read reports that n bytes came into Space. The client has no way to end its side alone: EOF is the end, as Failed is.
func (c *Conn) Read(n int, res wire.Result) {
	c.bulk = n > 0 && c.w+n == len(c.in)
	c.w += n
	if n > 0 && c.origin != nil {
		c.origin.heard = c.now
	}
	c.reading = false
	switch {
	case res != wire.EOF && res != wire.Failed:
	case c.origin != nil && c.w > c.r: // an answer may be in it
		c.origin.ends = true
	default:
		c.lost()
	}
}

// Frames counts the heads of frames that were looked at since Begin: what a read costs is told by them, not by its bytes.
func (c *Conn) Frames() uint32 { return c.seen }

// lost ends a connection whose client is gone: nobody hears what is pending.
func (c *Conn) lost() {
	c.over, c.mute = true, true
	c.freeOut()
}

func (c *Conn) freeIn() {
	if c.in != nil {
		c.mem.Put(c.in)
		c.in, c.r, c.w = nil, 0, 0
	}
}

func (c *Conn) freeBlock() {
	if c.block != nil {
		c.mem.Put(c.block[:cap(c.block)])
		c.block = nil
	}
}

// step looks at the next frame, or at a piece of it. more: another step may do something.
func (c *Conn) step() (e Event, more bool) {
	b := c.in[c.r:c.w]
	switch {
	case len(b) == 0:
		return e, false
	case c.known < len(preface):
		c.begins(b)
		return e, true
	case c.dataLeft > 0:
		return c.piece(len(b)), true
	case c.skip > 0:
		n := min(c.skip, len(b))
		c.skip -= n
		c.r += n
		return e, true
	case len(b) < frameHead:
		return e, false
	}
	f := parseFrame(b)
	c.seen++
	if !c.expected(f) {
		return e, true
	}
	b = b[frameHead:]
	if f.kind == frameData {
		return c.dataFrame(f, b)
	}
	if f.kind > frameContinuation && f.kind != framePriorityUpdate {
		c.r += frameHead
		c.skip = f.length
		return e, c.idle(1)
	}
	if len(b) < f.length {
		if f.kind == frameHeaders && c.headSince == 0 {
			c.headSince = c.now
		}
		return e, false
	}
	c.r += frameHead + f.length
	return c.handle(f, b[:f.length]), true
}

// begins checks the client's preface.
func (c *Conn) begins(b []byte) {
	n := min(len(b), len(preface)-c.known)
	if string(b[:n]) != preface[c.known:c.known+n] {
		c.fail(codeProtocol)
		return
	}
	c.known += n
	c.r += n
}

// expected reports whether such a frame may come now.
func (c *Conn) expected(f frame) bool {
	switch {
	case f.length > frameMost:
		c.fail(codeFrameSize)
	case !c.greeted && (f.kind != frameSettings || f.has(flagAck)), // RFC 9113, 3.4
		c.blockID != 0 && (f.kind != frameContinuation || f.id != c.blockID), // 6.2
		c.blockID == 0 && f.kind == frameContinuation:
		c.fail(codeProtocol)
	default:
		return true
	}
	return false
}

// handle acts on a whole frame that is not DATA.
func (c *Conn) handle(f frame, p []byte) Event {
	switch f.kind {
	case frameHeaders:
		return c.headersFrame(f, p)
	case frameContinuation:
		return c.continuation(f, p)
	case framePriority:
		return c.priorityFrame(f, p)
	case frameReset:
		return c.resetFrame(f, p)
	case frameSettings:
		return c.settingsFrame(f, p)
	case framePing:
		return c.pingFrame(f, p)
	case frameGoAway:
		return c.goAwayFrame(f, p)
	case frameWindow:
		return c.windowFrame(f, p)
	case framePriorityUpdate:
		return c.priorityUpdate(f, p)
	}
	return c.fail(codeProtocol) // PUSH_PROMISE: no client sends it (RFC 9113, 6.6)
}
