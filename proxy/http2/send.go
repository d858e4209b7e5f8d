package http2

import "portico/proxy/wire"

const (
	// recordMost is how much a driver puts into one TLS record.
	recordMost = 16 << 10
	// dataMost is how much of a body goes into one frame, so that the frame fills a record: one more record for the few bytes that its head
	// takes costs us a system call, and the client as much.
	dataMost = recordMost - frameHead
)

// Whole cuts output that is Pending, at most so many bytes of it, to whole TLS records where it is more than one. What is left begins the
// next one, together with what comes.
func Whole(out []byte, most int) []byte {
	if out = out[:min(len(out), most)]; len(out) > recordMost {
		out = out[:len(out)-len(out)%recordMost]
	}
	return out
}

// Write sends bytes of the answer's body, a and then b, as far as the client's windows and the room of the output let it, and the end of
// the stream with the last byte if end is set; without bytes the end goes alone. Blocked: EventWritable follows. Failed: the stream is
// over.
func (s *Stream) Write(a, b []byte, end bool) (n int, res wire.Result) {
	c := s.c
	if s.gone || s.sent || c.over {
		return 0, wire.Failed
	}
	if s.id == 0 {
		return s.ask(a, b, end)
	}
	size := len(a) + len(b)
	if size == 0 {
		if end {
			c.add(frameData, flagEnd, s.id)
			c.finish(s)
		}
		return 0, wire.More
	}
	for n < size {
		k := c.allows(s, size-n)
		if k == 0 {
			c.wait(s)
			return n, wire.Blocked
		}
		last := end && n+k == size
		c.addData(s, a, b, k, last)
		ka := min(k, len(a))
		a, b = a[ka:], b[k-ka:]
		n += k
	}
	c.unwait(s)
	return n, wire.More
}

// addData appends a DATA frame with the first n bytes of a and b.
func (c *Conn) addData(s *Stream, a, b []byte, n int, last bool) {
	flags := byte(0)
	if last {
		flags = flagEnd
	}
	c.roomOut(frameHead + n)
	c.out = appendFrame(c.out, n, frameData, flags, s.id)
	k := min(n, len(a))
	c.out = append(append(c.out, a[:k]...), b[:n-k]...)
	c.sending.window -= n
	s.window -= n
	if c.turning == s {
		if c.quota -= n; c.quota < quotaLeast {
			c.quota = 0
		}
	}
	s.waits = c.now
	c.frames.add(framesWorth)
	c.updates = min(c.updates+updatesWorth*n, updatesMost)
	if last {
		c.finish(s)
	}
}

// allows tells how many of n bytes a stream may send in one frame now.
func (c *Conn) allows(s *Stream, n int) int {
	if c.turning != s && c.queued > 0 && !(c.queued == 1 && s.waiting) {
		return 0 // others wait
	}
	room := dataRoom - c.pending() - frameHead
	if n = min(n, s.window, c.sending.window, dataMost); n > room && room < pieceMin {
		return 0
	}
	if c.turning == s {
		n = min(n, c.quota)
	}
	return max(min(n, room), 0)
}

// finish notes that our side of a stream has ended.
func (c *Conn) finish(s *Stream) {
	s.sent = true
	c.unwait(s)
	if s.ended {
		c.detach(s, false)
	}
}

// windowFrame takes a WINDOW_UPDATE (RFC 9113, 6.9).
func (c *Conn) windowFrame(f frame, p []byte) Event {
	if len(p) != 4 {
		return c.fail(codeFrameSize)
	}
	n := int(p[0]&0x7f)<<24 | int(p[1])<<16 | int(p[2])<<8 | int(p[3])
	if !c.update() {
		return Event{}
	}
	if f.id == 0 {
		if n == 0 {
			return c.fail(codeProtocol)
		}
		if c.sending.window += n; c.sending.window > windowMost {
			return c.fail(codeFlow)
		}
		return Event{}
	}
	if f.id > c.lastID && c.drain != drainLast || f.id&1 == 0 {
		return c.fail(codeProtocol) // idle
	}
	s := c.find(f.id)
	switch {
	case s == nil:
	case n == 0:
		return c.wrong(s, codeProtocol)
	case s.window+n > windowMost:
		return c.wrong(s, codeFlow)
	default:
		s.window += n
		c.ready(s)
	}
	return Event{}
}
