package http2

import (
	"sync"

	"portico/proxy/http2/heads"
	"portico/proxy/http2/hpack"
)

// answerPool lends them for as long as it takes to read a block.
var answerPool = sync.Pool{New: func() any { return new(heads.Answer) }}

// endAnswer acts on a header block of an origin's that has come whole.
func (c *Conn) endAnswer(block []byte, id uint32, end bool) Event {
	if id > c.lastID {
		return c.fail(codeProtocol) // idle
	}
	s := c.find(id)
	a := answerPool.Get().(*heads.Answer)
	defer answerPool.Put(a)
	a.Begin(c.mem, c.conf.Limits, s == nil || s.final)
	defer a.Drop()
	ok := c.decodeAnswer(block, a, s != nil && s.tunnel)
	switch sound := ok && a.End(); {
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
	case a.Status < 200:
		return c.interim(s, a, end)
	}
	return c.final(s, a, end)
}

// decodeAnswer reads a block. False: it is no HPACK.
func (c *Conn) decodeAnswer(block []byte, a *heads.Answer, tunnel bool) (ok bool) {
	block, ok = c.decoder.Begin(block, c.mem)
	for ok && len(block) > 0 {
		var f hpack.Field
		if block, ok = c.decoder.Next(block, &f); ok {
			a.Add(&f, tunnel)
		}
	}
	c.decoder.End(c.mem)
	return ok
}

// interim takes an answer that another one follows.
func (c *Conn) interim(s *Stream, a *heads.Answer, end bool) Event {
	if end {
		return c.wrong(s, codeProtocol)
	}
	if s.text > 2*c.conf.Limits.ResponseHead { // nobody takes them
		return c.wrong(s, codeCalm)
	}
	return c.say(s, a)
}

// final takes the head of the answer.
func (c *Conn) final(s *Stream, a *heads.Answer, end bool) Event {
	s.final = true
	upgraded := s.tunnel && a.Status/100 == 2
	switch {
	case upgraded:
		a.Prove(s.accept[:])
	case s.bodyless, a.Status == 204, a.Status == 304:
		s.length = 0
	default:
		s.length = a.Length
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

// say lets a head be read as text.
func (c *Conn) say(s *Stream, a *heads.Answer) Event {
	c.frames.add(framesWorth)
	text := a.Text()
	s.text += len(text)
	s.body.put(text, c.mem)
	return c.readable(s)
}

// answerTrailers takes the fields behind an answer's body.
func (c *Conn) answerTrailers(s *Stream, a *heads.Answer, end bool) Event {
	if !end || a.Over || s.length >= 0 && s.got != s.length {
		return c.wrong(s, codeProtocol)
	}
	s.tail, s.trail = a.Give()
	return c.ends(s)
}
