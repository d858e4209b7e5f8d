package http2

import "portico/proxy/http2/priority"

const (
	levels = 8
	// What a stream may send before others that share the line with it: what an exchange reads at a time.
	quotaTurn = 2 * dataMost
	// A stream that others keep from the line for so long may send a little: clients and instances must see that it lives.
	starved      = 5_000_000_000
	quotaStarved = 1 << 10
	quotaLeast   = 512 // no frame of its own for less that is left of it
)

// sending is the state of what goes to the client.
type sending struct {
	window  int // bytes of DATA that the connection may send
	initial int // windows of streams that open

	queued  int
	turning *Stream // whose turn it is
	quota   int     // bytes that it may send
	looked  int64   // when somebody last looked for the starved

	receive int // bytes of DATA that the client may send on the connection
	owed    int // bytes that were taken and not given back yet
}

// Held reports whether Write was Blocked for want of room in the output or of the stream's turn, not of the client's windows: it is not
// this stream that the client does not take.
func (s *Stream) Held() bool { return s.blocked && s.window > 0 && s.c.sending.window > 0 }

// wait puts a stream that has more to send where its turn comes. Without a window of its own, it waits for the client first.
func (c *Conn) wait(s *Stream) {
	if !s.blocked {
		s.blocked, s.waits = true, c.now
	}
	if s.waiting || s.window <= 0 {
		return
	}
	c.enqueue(s, c.turning == s && !s.urge.Turns)
}

// ready puts a blocked stream whose window has opened where its turn comes.
func (c *Conn) ready(s *Stream) {
	if s.blocked && !s.waiting && s.window > 0 {
		s.waits = c.now
		c.enqueue(s, false)
	}
}

// enqueue adds a stream to its level: at the end, or in front to go on. Streams that do not share the line come in the order in which
// they were opened (RFC 9218, 10).
func (c *Conn) enqueue(s *Stream, front bool) {
	l := s.urge.Level
	before := c.backs[l] // the one that it comes behind
	switch {
	case front:
		before = nil
	case !s.urge.Turns:
		for before != nil && !before.urge.Turns && before.id > s.id {
			before = before.prev
		}
	}
	s.prev = before
	if before != nil {
		s.follow, before.follow = before.follow, s
	} else {
		s.follow, c.fronts[l] = c.fronts[l], s
	}
	if s.follow != nil {
		s.follow.prev = s
	} else {
		c.backs[l] = s
	}
	s.waiting = true
	c.queued++
}

// dequeue takes a stream out of its level.
func (c *Conn) dequeue(s *Stream) {
	if !s.waiting {
		return
	}
	l := s.urge.Level
	if s.prev != nil {
		s.prev.follow = s.follow
	} else {
		c.fronts[l] = s.follow
	}
	if s.follow != nil {
		s.follow.prev = s.prev
	} else {
		c.backs[l] = s.prev
	}
	s.prev, s.follow, s.waiting = nil, nil, false
	c.queued--
}

// unwait notes that a stream has nothing to send.
func (c *Conn) unwait(s *Stream) {
	c.dequeue(s)
	s.blocked = false
}

// turn picks the stream whose turn it is, nil where none could send.
func (c *Conn) turn() *Stream {
	if c.queued == 0 || c.sending.window <= 0 || dataRoom-c.pending()-frameHead < pieceMin {
		return nil
	}
	s := c.starving()
	c.quota = quotaStarved
	if s == nil {
		for l := range c.fronts {
			if s = c.fronts[l]; s != nil {
				break
			}
		}
		c.quota = quotaTurn
		if !s.urge.Turns {
			c.quota = dataRoom
		}
	}
	c.unwait(s)
	c.turning = s
	return s
}

// starving finds the stream that has waited longest, if that was long.
func (c *Conn) starving() (hungry *Stream) {
	const pause = 1_000_000_000
	if c.queued == 1 || c.now-c.looked < pause {
		return nil
	}
	for l := range c.fronts {
		for s := c.fronts[l]; s != nil; s = s.follow {
			if c.now-s.waits >= starved && (hungry == nil || s.waits < hungry.waits) {
				hungry = s
			}
		}
	}
	if hungry == nil {
		c.looked = c.now
	}
	return hungry
}

// reorder gives a stream another urgency.
func (c *Conn) reorder(s *Stream, u priority.Urgency) {
	waited := s.waiting
	c.dequeue(s)
	s.urge = u
	if waited {
		c.enqueue(s, false)
	}
}
