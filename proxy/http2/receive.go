package http2

import "portico/proxy/wire"

const (
	windowUsual = 1<<16 - 1 // of a stream and of the connection in the beginning (RFC 9113, 6.9.2)
	windowMost  = 1<<31 - 1
	// A stream's window grows so far while its exchange takes what comes: 5 MB a second over a line of 100 ms. It grows only then, so an
	// exchange that waits holds little.
	receiveOne = 512 << 10
	// All that a client may have sent and no exchange has taken, whatever the streams. So much memory can its connection hold. Two uploads
	// that have stopped leave a third of it to the others.
	receiveAll = 3 * receiveOne
)

// dataFrame begins a DATA frame, of whose payload b is what has come (RFC 9113, 6.1).
func (c *Conn) dataFrame(f frame, b []byte) (e Event, more bool) {
	used, pad, whole := frameHead, 0, f.length
	if f.has(flagPadded) {
		if whole > 0 && len(b) == 0 {
			return e, false // how much is padding decides
		}
		if whole == 0 || int(b[0]) >= whole {
			return c.fail(codeProtocol), true
		}
		used, pad = used+1, int(b[0])
		whole -= 1 + pad
	}
	if f.id == 0 || f.id&1 == 0 || f.id > c.lastID && c.drain != drainLast { // 5.1: idle
		return c.fail(codeProtocol), true
	}
	if f.length > c.receive {
		return c.fail(codeFlow), true
	}
	c.r += used
	c.receive -= f.length
	if c.origin != nil {
		c.owe(f.length)
	}
	s := c.find(f.id)
	if why, ok := c.takes(s, f, whole); !ok {
		c.skip = f.length - (used - frameHead)
		c.free(f.length)
		if s != nil {
			return c.wrong(s, why), true
		}
		if f.has(flagEnd) {
			c.parted(f.id)
		}
		return c.lateData(f.id, whole), true
	}
	s.receive -= f.length
	s.got += int64(whole)
	c.data, c.dataLeft, c.padLeft, c.dataEnd = s, whole, pad, f.has(flagEnd)
	if n := f.length - whole; n > 0 {
		c.free(n)
		s.owe(n)
	}
	switch {
	case whole > 0:
		c.frames.add(framesWorth)
		return e, true
	case !c.dataEnd:
		c.idle(1)
	}
	return c.endData(), true
}

// takes tells whether a stream may get such a frame, and if not, what the error is.
func (c *Conn) takes(s *Stream, f frame, n int) (code, bool) {
	switch {
	case s == nil, s.ended:
		return codeClosed, false
	case c.origin != nil && !s.final:
		return codeProtocol, false
	case f.length > s.receive:
		return codeFlow, false
	case s.length >= 0 && (s.got+int64(n) > s.length || f.has(flagEnd) && s.got+int64(n) != s.length): // 8.1.1
		return codeProtocol, false
	}
	return codeNone, true
}

// lateData acts on DATA for a stream that is closed. One that we have reset may still get what was on its way: a window full, which is
// many frames, so those of some size cost nothing.
func (c *Conn) lateData(id uint32, size int) Event {
	const sizable = 256
	if _, byUs := c.was(id); byUs || id > c.lastID || c.origin != nil {
		if size < sizable {
			c.idle(1)
		}
		return Event{}
	}
	return c.refuse(id, codeClosed)
}

// piece passes on DATA of which n bytes or more are there.
func (c *Conn) piece(n int) Event {
	n = min(n, c.dataLeft)
	c.dataLeft -= n
	s := c.data
	if s == nil {
		c.free(n)
	} else {
		c.lent, c.lentAt, c.lentEnd = s, c.r, c.r+n
	}
	c.r += n
	if c.dataLeft > 0 {
		return c.readable(s)
	}
	return c.endData()
}

// endData ends the frame, but for its padding.
func (c *Conn) endData() Event {
	s := c.data
	c.skip, c.data, c.padLeft = c.padLeft, nil, 0
	if s == nil {
		return Event{}
	}
	if c.dataEnd {
		return c.ends(s)
	}
	if c.lent == s {
		return c.readable(s)
	}
	return Event{}
}

// readable tells the driver, unless it knows. What it is told of it may read from the input where it stands.
func (c *Conn) readable(s *Stream) Event {
	if s == nil || s.gone {
		return Event{}
	}
	if s.told {
		c.spill()
		return Event{}
	}
	s.told = true
	return Event{EventReadable, s}
}

// spill moves what was lent of the input and not read to the stream's own memory.
func (c *Conn) spill() {
	if s := c.lent; s != nil {
		c.lent = nil
		s.body.put(c.in[c.lentAt:c.lentEnd], c.mem)
	}
}

// Read takes bytes of the request's body. Blocked: that was all for now, EventReadable follows. EOF: the client has ended it. Failed:
// the stream is over.
func (s *Stream) Read(b []byte) (int, wire.Result) {
	if s.gone {
		return 0, wire.Failed
	}
	c := s.c
	n := s.body.take(b, c.mem)
	if c.lent == s && s.body.size == 0 {
		k := copy(b[n:], c.in[c.lentAt:c.lentEnd])
		n += k
		if c.lentAt += k; c.lentAt == c.lentEnd {
			c.lent = nil
		}
	}
	rest := s.body.size > 0 || c.lent == s
	heads := min(n, s.text)
	s.text -= heads
	if data := n - heads; data > 0 {
		c.free(data)
		s.grow(rest)
		s.owe(data)
	}
	switch {
	case rest:
		return n, wire.More
	case s.ended:
		return n, wire.EOF
	}
	s.told = false
	return n, wire.Blocked
}

// free notes that n bytes of the connection's window are held no longer. An origin has had room for as many when they came.
func (c *Conn) free(n int) {
	if c.origin == nil {
		c.owe(n)
	}
}

// owe gives the client room for n more bytes of the connection, by and by.
func (c *Conn) owe(n int) {
	c.owed += n
	if c.owed >= receiveAll/4 && !c.over {
		c.addWindow(0, c.owed)
		c.receive += c.owed
		c.owed = 0
	}
}

// owe gives the client room for n more bytes of the stream.
func (s *Stream) owe(n int) {
	s.owed += n
	if s.owed >= s.span/2 && !s.ended && !s.gone && !s.c.over {
		s.c.addWindow(s.id, s.owed)
		s.receive += s.owed
		s.owed = 0
	}
}

// grow widens the window of a stream whose exchange has taken all that came while the client has used much of it.
func (s *Stream) grow(rest bool) {
	most := receiveOne
	if s.c.origin != nil {
		most = receiveAnswer
	}
	if !rest && s.span < most && s.receive < s.span/2 {
		span := min(2*s.span, most)
		s.owed += span - s.span
		s.span = span
	}
}

func (c *Conn) addWindow(id uint32, n int) {
	c.add(frameWindow, 0, id, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
