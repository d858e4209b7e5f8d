package http2

import (
	"encoding/binary"
	"sync"

	"portico/proxy/http2/heads"
	"portico/proxy/http2/hpack"
)

// requestPool lends them for as long as it takes to read a block.
var requestPool = sync.Pool{New: func() any { return new(heads.Request) }}

// headersFrame begins a header block (RFC 9113, 6.2).
func (c *Conn) headersFrame(f frame, p []byte) Event {
	ok := true
	if f.has(flagPadded) {
		p, ok = unpad(p)
	}
	self := false
	if ok && f.has(flagPriority) {
		if ok = len(p) >= 5; ok {
			self = binary.BigEndian.Uint32(p)&^(1<<31) == f.id
			p = p[5:]
		}
	}
	if !ok || f.id&1 == 0 {
		return c.fail(codeProtocol)
	}
	c.frames.add(framesWorth)
	c.blockID, c.blockFlags, c.blockSelf = f.id, f.flags, self
	if f.has(flagEndHeaders) {
		return c.endBlock(p)
	}
	if c.headSince == 0 {
		c.headSince = c.now
	}
	return c.moreBlock(p)
}

// continuation goes on with one (RFC 9113, 6.10).
func (c *Conn) continuation(f frame, p []byte) Event {
	if !c.idle(1) {
		return Event{}
	}
	if e := c.moreBlock(p); c.over || !f.has(flagEndHeaders) {
		return e
	}
	e := c.endBlock(c.block)
	c.freeBlock()
	return e
}

// moreBlock keeps a part of a block until the rest has come.
func (c *Conn) moreBlock(p []byte) Event {
	if len(c.block)+len(p) > blockMax {
		return c.fail(codeCalm)
	}
	if c.block == nil {
		c.block = c.mem.Get(largeIn)[:0]
	}
	if n := len(c.block) + len(p); n > cap(c.block) {
		b := append(c.mem.Get(blockMax)[:0], c.block...)
		c.mem.Put(c.block[:cap(c.block)])
		c.block = b
	}
	c.block = append(c.block, p...)
	return Event{}
}

// endBlock acts on a block that has come whole. Whatever becomes of its stream, the decoder must see it.
func (c *Conn) endBlock(block []byte) Event {
	id, end := c.blockID, c.blockFlags&flagEnd != 0
	c.blockID, c.headSince = 0, 0
	if c.origin != nil {
		return c.endAnswer(block, id, end)
	}
	s := c.find(id)
	c.request = requestPool.Get().(*heads.Request)
	sound, ok := c.decode(block, id <= c.lastID)
	var e Event
	switch {
	case !ok:
		e = c.fail(codeCompression)
	case s != nil:
		e = c.trailers(s, sound && end)
	case id <= c.lastID:
		e = c.late(id)
	default:
		e = c.opens(id, sound, end)
	}
	c.request.Drop()
	requestPool.Put(c.request)
	c.request = nil
	return e
}

// decode reads a block into c.request. sound: it is well-formed; ok: it is HPACK.
func (c *Conn) decode(block []byte, trailers bool) (sound, ok bool) {
	c.request.Begin(c.mem, c.conf.Limits, trailers)
	block, ok = c.decoder.Begin(block, c.mem)
	for ok && len(block) > 0 {
		var f hpack.Field
		if block, ok = c.decoder.Next(block, &f); ok {
			c.request.Add(&f)
		}
	}
	c.decoder.End(c.mem)
	return ok && c.request.End(), ok
}

// late acts on a header block for a stream that is closed (RFC 9113, 5.1). One that we have reset may still get what was on its way.
func (c *Conn) late(id uint32) Event {
	known, byUs := c.was(id)
	switch {
	case !known:
		return c.fail(codeProtocol) // 5.1.1
	case !byUs:
		return c.fail(codeClosed)
	}
	c.parted(id)
	c.idle(1)
	return Event{}
}

// opens acts on a request.
func (c *Conn) opens(id uint32, sound, end bool) Event {
	if c.drain == drainLast && id > c.limit {
		return Event{} // it will be asked elsewhere (RFC 9113, 6.8)
	}
	c.lastID = id
	r := c.request
	if c.streams.open >= streamsMost || c.held >= 2*streamsMost {
		return c.refuse(id, codeRefused) // 5.1.2
	}
	if !sound || c.blockSelf || end && r.Length > 0 {
		return c.malformed(id, end)
	}
	s := c.attach(id, end)
	s.length, s.urge = r.Length, c.foretold.Of(s.id, r.Urge)
	c.text, s.request = r.Give()
	return Event{EventOpen, s}
}

// malformed hands a request that is none (RFC 9113, 8.1.1) to the driver, which accounts for it and resets its stream.
func (c *Conn) malformed(id uint32, end bool) Event {
	if !c.gaveUp() {
		return Event{}
	}
	s := c.attach(id, end)
	s.bad = true
	return Event{EventOpen, s}
}

// trailers acts on a second header block of a stream (RFC 9113, 8.1).
func (c *Conn) trailers(s *Stream, sound bool) Event {
	switch {
	case s.ended:
		return c.wrong(s, codeClosed)
	case !sound || c.request.Over || c.blockSelf || s.length >= 0 && s.got != s.length:
		return c.wrong(s, codeProtocol)
	}
	s.tail, s.trail = c.request.Give()
	return c.ends(s)
}

// ends notes that the client has ended its side.
func (c *Conn) ends(s *Stream) Event {
	s.ended = true
	if s.sent {
		c.detach(s, false)
	}
	return c.readable(s)
}
