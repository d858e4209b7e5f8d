package http2

import (
	"sync"

	"portico/proxy/http1"
	"portico/proxy/http2/hpack"
	"portico/proxy/wire"
)

// answerPool lends them for as long as it takes to read a block.
//
//nolint:gochecknoglobals // a pool
var answerPool = sync.Pool{New: func() any { return new(answer) }}

// answer turns the fields of an origin's header block into text of HTTP/1, as request does for a client's.
type answer struct {
	request
	status int
}

// begin prepares for a block.
func (a *answer) begin(mem wire.Memory, lim *http1.Limits, trailers bool) {
	a.request.begin(mem, lim, trailers)
	a.status = 0
	if !trailers {
		a.most, a.lines = lim.ResponseHead, lim.ResponseFlds+1
	}
}

// add takes a field.
func (a *answer) add(f *hpack.Field, tunnel bool) {
	switch {
	case a.bad:
	case f.Flawed():
		a.bad = true
	case len(f.Name) > 0 && f.Name[0] == ':':
		a.bad = a.begun || string(f.Name) != ":status" || !a.line1(f.Value, tunnel)
	case !a.begun, f.Kind == hpack.KindHop, f.Kind == hpack.KindTE: // RFC 9113, 8.3.2 and 8.2.2
		a.bad = true
	case f.Kind == hpack.KindLength && !a.trailers:
		a.length = parseLength(f.Value)
		a.line(f.Name, f.Value)
	default:
		a.line(f.Name, f.Value)
	}
}

// line1 writes the status line. 101 is no status of HTTP/2 (RFC 9113, 8.6); what it says in HTTP/1, a success does that answers an
// extended CONNECT (RFC 8441, 5).
func (a *answer) line1(status []byte, tunnel bool) bool {
	if len(status) != 3 || status[0] < '1' || status[0] > '5' || string(status) == "101" {
		return false
	}
	for _, c := range status {
		if c < '0' || c > '9' {
			return false
		}
		a.status = 10*a.status + int(c-'0')
	}
	a.begun = true
	if tunnel && a.status/100 == 2 {
		status = []byte("101")
	}
	if a.fits(16) {
		a.buf = append(append(append(a.buf, "HTTP/1.1 "...), status...), " \r\n"...)
	}
	return true
}

// end ends the block and reports whether it was well-formed.
func (a *answer) end() bool {
	if !a.begun {
		return false
	}
	return a.request.end()
}

// endAnswer acts on a header block of an origin's that has come whole.
func (c *Conn) endAnswer(block []byte, id uint32, end bool) Event {
	if id > c.lastID {
		return c.fail(codeProtocol) // idle
	}
	s := c.find(id)
	a := answerPool.Get().(*answer)
	defer answerPool.Put(a)
	a.begin(c.mem, c.conf.Limits, s == nil || s.final)
	defer a.drop()
	ok := c.decodeAnswer(block, a, s != nil && s.tunnel)
	switch sound := ok && a.end(); {
	case !ok:
		return c.fail(codeCompression)
	case s == nil: // given up: what was on its way
		return Event{}
	case s.ended:
		return c.wrong(s, codeClosed)
	case !sound:
		return c.wrong(s, codeProtocol)
	case s.final:
		return c.answerTrailers(s, a, end)
	case a.status < 200:
		return c.interim(s, a, end)
	}
	return c.final(s, a, end)
}

// decodeAnswer reads a block. False: it is no HPACK.
func (c *Conn) decodeAnswer(block []byte, a *answer, tunnel bool) (ok bool) {
	block, ok = c.decoder.Begin(block, c.mem)
	for ok && len(block) > 0 {
		var f hpack.Field
		if block, ok = c.decoder.Next(block, &f); ok {
			a.add(&f, tunnel)
		}
	}
	c.decoder.End(c.mem)
	return ok
}

// interim takes an answer that another one follows.
func (c *Conn) interim(s *Stream, a *answer, end bool) Event {
	if end {
		return c.wrong(s, codeProtocol)
	}
	if s.text > 2*c.conf.Limits.ResponseHead { // nobody takes them
		return c.wrong(s, codeCalm)
	}
	return c.say(s, a)
}

// final takes the head of the answer.
func (c *Conn) final(s *Stream, a *answer, end bool) Event {
	s.final = true
	upgraded := s.tunnel && a.status/100 == 2
	switch {
	case upgraded:
		c.prove(s, a)
	case s.bodyless, a.status == 204, a.status == 304:
		s.length = 0
	default:
		s.length = a.length
	}
	if end && s.length > 0 {
		return c.wrong(s, codeProtocol)
	}
	e := c.say(s, a)
	if end {
		c.ends(s)
	}
	return e
}

// prove adds what an answer has in HTTP/1 that opens a tunnel.
func (c *Conn) prove(s *Stream, a *answer) {
	a.buf = a.buf[:len(a.buf)-2] // the empty line
	a.line([]byte("connection"), []byte("Upgrade"))
	a.line([]byte("upgrade"), []byte("websocket"))
	a.line([]byte("sec-websocket-accept"), s.accept[:])
	a.room(2)
	a.buf = append(a.buf, "\r\n"...)
}

// say lets a head be read as text.
func (c *Conn) say(s *Stream, a *answer) Event {
	c.frames.earn(framesWorth)
	text := a.buf[a.start:]
	s.text += len(text)
	s.body.put(text, c.mem)
	return c.readable(s)
}

// answerTrailers takes the fields behind an answer's body.
func (c *Conn) answerTrailers(s *Stream, a *answer, end bool) Event {
	if !end || a.over || s.length >= 0 && s.got != s.length {
		return c.wrong(s, codeProtocol)
	}
	s.tail, s.trail = a.give()
	return c.ends(s)
}
