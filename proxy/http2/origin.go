package http2

import (
	"time"

	"portico/proxy/http2/hpack"
	"portico/proxy/http2/priority"
	"portico/proxy/wire"
)

const (
	// An origin that does not say how many streams it takes is not asked for more than this at once (RFC 9113, 6.5.2).
	originStreams = 100
	// The window of an answer grows no further: what a client does not take is held for it, and many clients share the connection.
	receiveAnswer = 256 << 10
	lastStream    = 1<<31 - 1
)

// origin is what a connection has that we have opened: the other end serves, and each stream carries a request of ours.
//
// Clients of many kinds share such a connection, so none may hold up another: the window of the connection opens as bytes come, not as
// they are taken, and only the window of its own stream holds an answer back.
type origin struct {
	idle    time.Duration // without a stream, before the connection is closed
	nextID  uint32
	most    int   // streams that it takes at once
	tunnels bool  // it takes an extended CONNECT (RFC 8441, 3)
	heard   int64 // when something came last
	ends    bool  // nothing comes behind what is to be looked at yet
	shed    bool  // streams that it has not processed are to be told
	served  uint32
}

// Dial makes c, after its socket is connected, the client's side of a connection to an origin that speaks HTTP/2 with prior knowledge
// (RFC 9113, 3.3). It is closed when it had no stream for so long.
func (c *Conn) Dial(conf *Config, mem wire.Memory, idle time.Duration, now int64) {
	c.reset(conf, mem, now)
	c.origin = &origin{idle: idle, nextID: 1, most: originStreams, heard: now}
	c.known = len(preface) // none comes
	c.roomOut(len(preface) + 128)
	c.out = append(c.out, preface...)
	lim := conf.Limits
	c.greet([][2]uint32{{settingPush, 0}, {settingList, uint32(lim.ResponseHead + hpack.EntryCost*lim.ResponseFlds)}})
}

// Greeted reports whether the other end has shown that it speaks HTTP/2, and does not put off even a single stream for now, as it may for a
// while (RFC 9113, 6.5.2): a second connection would be put off as well.
func (c *Conn) Greeted() bool {
	return c.greeted && (c.origin.most > 0 || c.held > 0 || c.Leaving())
}

// Tunnels reports whether the origin takes an extended CONNECT.
func (c *Conn) Tunnels() bool { return c.origin.tunnels }

// Leaving reports whether the connection to the origin takes no more streams, ever.
func (c *Conn) Leaving() bool { return c.over || c.left || c.origin.nextID > lastStream }

// Room is how many streams may be opened now.
func (c *Conn) Room() int {
	if !c.greeted || c.Leaving() {
		return 0
	}
	return max(c.origin.most-c.held, 0)
}

// Open returns a stream for a request to the origin; nil: there is no room. What is written to it begins with the request's head as
// HTTP/1 text, of which the first Write has all; what is read begins with the heads of the answer as HTTP/1 text, interim ones and the
// final one. Bodies are as they are.
func (c *Conn) Open() *Stream {
	if c.Room() == 0 {
		return nil
	}
	s := c.take()
	s.urge, s.began = priority.Usual, c.now
	return s
}

// Leave opens no more streams. The connection is over when those that are open have ended.
func (c *Conn) Leave() {
	c.left = true
	c.last()
}

// Refused reports whether the origin has told that it did not look at the request: any may be sent again (RFC 9113, 8.7).
func (s *Stream) Refused() bool { return s.refused }

// WasReset reports whether the origin has given this request up, while its connection goes on, and why.
func (s *Stream) WasReset() (why wire.Reset, ok bool) {
	if s.cancel {
		return wire.ResetCancel, s.reset
	}
	return wire.ResetInternal, s.reset
}

// Finish ends the driver's part of a stream to an origin. Unless all was said both ways, the origin is told that nobody waits for it.
func (s *Stream) Finish() {
	c := s.c
	if s.id != 0 && !s.gone && !(s.sent && s.ended) {
		c.addReset(s.id, codeCancel)
	}
	if o := c.origin; s.id != 0 && !s.ended && o.heard <= s.began && c.now-s.began >= int64(c.conf.Timeouts.Response)/2 {
		c.left = true // nothing at all has come since: others are not to wait for it as long
	}
	c.release(s)
}

// unserved tells of the streams that the origin has not looked at and never will (RFC 9113, 6.8).
func (c *Conn) unserved() Event {
	for s := c.mine; s != nil; s = s.after {
		if s.id > c.origin.served && !s.gone && !s.final {
			c.detach(s, false)
			s.gone, s.refused = true, s.unheard()
			return Event{EventReset, s}
		}
	}
	c.origin.shed = false
	return Event{}
}

// unheard reports whether nothing unread of an answer is there: an origin that has begun one has looked at the request, whatever it says.
func (s *Stream) unheard() bool { return !s.final && s.text == 0 }

// stop ends our side of a stream whose answer is complete.
func (c *Conn) stop(s *Stream) Event {
	waits := s.blocked
	c.detach(s, false)
	s.sent = true
	if waits {
		return Event{EventWritable, s}
	}
	return Event{}
}

// resetByOrigin ends a stream by the origin's will. One whose answer is complete is only told to send no more (RFC 9113, 8.1).
func (c *Conn) resetByOrigin(s *Stream, why code) Event {
	if s.ended {
		return c.stop(s)
	}
	c.detach(s, false)
	s.gone, s.refused, s.cancel = true, why == codeRefused && s.unheard(), why == codeCancel
	s.reset = !s.refused
	return Event{EventReset, s}
}
