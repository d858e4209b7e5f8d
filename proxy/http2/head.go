package http2

// Head begins a head of the answer: an interim one (1xx), the final one, or with status 0 the trailers behind the body. Field and EndHead
// must follow before anything else is done with the connection.
func (s *Stream) Head(status int) {
	c := s.c
	if s.heading = !s.gone && !s.sent && !c.over; !s.heading {
		return
	}
	c.roomOut(frameHead + 64)
	s.headAt = len(c.out) - c.o
	c.out = c.encoder.Block(appendFrame(c.out, 0, frameHeaders, 0, s.id))
	if status != 0 {
		c.out = c.encoder.Status(c.out, status)
	}
}

// Field adds a field to the head, its name in any case; both may change when it has returned.
func (s *Stream) Field(name, value []byte) {
	if !s.heading {
		return
	}
	c := s.c
	c.roomOut(len(name) + len(value) + 16)
	c.out = c.encoder.Field(c.out, name, value)
}

// EndHead ends the head; last: nothing follows on the stream.
func (s *Stream) EndHead(last bool) {
	if !s.heading {
		return
	}
	s.heading = false
	c := s.c
	flags := byte(0)
	if last {
		flags = flagEnd
	}
	c.closeBlock(s.headAt, s.id, flags)
	c.frames.add(framesWorth)
	if last {
		c.finish(s)
	}
}

// closeBlock makes frames of the block whose frame begins so far behind what is written: one, nearly always, else others behind it
// (RFC 9113, 6.10).
func (c *Conn) closeBlock(at int, id uint32, flags byte) {
	kind, length := byte(frameHeaders), c.pending()-at-frameHead
	for length > frameMost {
		appendFrame(c.out[:c.o+at], frameMost, kind, flags, id)
		at += frameHead + frameMost
		c.roomOut(frameHead)
		c.out = c.out[:len(c.out)+frameHead]
		copy(c.out[c.o+at+frameHead:], c.out[c.o+at:])
		kind, flags, length = frameContinuation, 0, length-frameMost
	}
	appendFrame(c.out[:c.o+at], length, kind, flags|flagEndHeaders, id)
}
