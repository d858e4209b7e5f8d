package http2

import (
	"portico/proxy/http1"
	"portico/proxy/http2/heads"
	"portico/proxy/http2/hpack"
	"portico/proxy/http2/priority"
	"portico/proxy/wire"
)

// streamsMost is how many streams a client may have open at once.
const streamsMost = 100

// Config is what connections share, with its defaults.
type Config struct {
	Limits   *http1.Limits
	Timeouts *wire.Timeouts
}

// Conn is one client's connection as a state machine: events come in through its methods, [Conn.Next] says what has happened. All times
// are nanoseconds of a clock that the driver chooses. A Conn is not safe for concurrent use; the zero value is ready for Begin.
type Conn struct {
	conf *Config
	mem  wire.Memory
	now  int64

	input
	output
	streams
	sending
	decoder hpack.Decoder
	encoder hpack.Encoder
	request *heads.Request // while a block is read
	text    []byte         // borrowed: the buffer of the request that was told last

	frames  budget // that move nothing
	resets  budget
	updates int // WINDOW_UPDATE frames that cost nothing

	partings []parting          // by time
	foretold *priority.Foretold // nil: nothing was

	origin *origin // at the other end, where we have opened the connection; nil: a client is there

	over    bool // nothing will come
	denied  bool // because the client has used up a budget
	left    bool // the client has said GOAWAY
	drain   drain
	limit   uint32 // the highest stream that is served, once drain is drainLast
	since   int64  // of the drain
	greeted bool   // the client's preface and first SETTINGS have come
	acked   bool   // it has taken our SETTINGS
	began   int64
	rest    int64 // since when no stream is open
}

// Begin makes c serve a connection. Our SETTINGS are pending after it.
func (c *Conn) Begin(conf *Config, mem wire.Memory, now int64) {
	c.reset(conf, mem, now)
	lim := conf.Limits
	c.greet([][2]uint32{{settingStreams, streamsMost}, {settingList, uint32(lim.Head + hpack.EntryCost*lim.Fields)}, {settingConnect, 1}, {settingPriorities, 1}})
}

// reset makes c new.
func (c *Conn) reset(conf *Config, mem wire.Memory, now int64) {
	c.conf, c.mem, c.now = conf, mem, now
	c.input = input{}
	c.output = output{}
	c.streams, c.foretold = streams{}, nil
	c.sending = sending{window: windowUsual, initial: windowUsual}
	c.decoder.Reset()
	c.encoder.Reset()
	c.frames, c.resets = newBudget(frameBudget, framesRefill, now), newBudget(resetBudget, resetsRefill, now)
	c.updates, c.partings = 0, c.partings[:0]
	c.over, c.denied, c.left, c.drain, c.greeted, c.acked = false, false, false, drainNot, false, false
	c.began, c.rest = now, now
	c.origin = nil
}

// Release gives every buffer back; c can Begin anew. No stream may be in use, and nobody may be reading or writing.
func (c *Conn) Release() {
	c.over, c.reading = true, false
	c.Wrote(0, wire.More)
	c.forget()
	c.freeIn()
	c.freeBlock()
	c.freeOut()
}

// Now tells the time.
func (c *Conn) Now(now int64) { c.now = now }

// Next returns what has happened, one thing at a time; EventNone: nothing more before an input. A driver asks after each call of Read,
// Wrote and Timeout, and after streams have written.
func (c *Conn) Next() Event {
	c.forget()
	for !c.over && !c.full() {
		if c.origin != nil && c.origin.shed {
			if e := c.unserved(); e.Kind != EventNone {
				return e
			}
		}
		e, more := c.step()
		if e.Kind != EventNone {
			return e
		}
		if !more {
			break
		}
	}
	if c.origin != nil && c.origin.ends {
		c.lost()
	}
	if c.over {
		return c.cut()
	}
	if s := c.turn(); s != nil {
		return Event{EventWritable, s}
	}
	c.rested()
	return Event{}
}

// forget gives up what held until the next event.
func (c *Conn) forget() {
	c.spill()
	c.turning = nil
	if c.text != nil {
		c.mem.Put(c.text[:cap(c.text)])
		c.text = nil
	}
}

// rested gives back what an idle connection needs not.
func (c *Conn) rested() {
	if c.r == c.w && !c.reading {
		c.freeIn()
	}
}

// cut tells each stream of a connection that is over.
func (c *Conn) cut() Event {
	for s := c.mine; s != nil; s = s.after {
		switch {
		case s.gone:
		case c.origin != nil && s.ended: // its answer is whole, and is read
			if e := c.stop(s); e.Kind != EventNone {
				return e
			}
		default:
			c.detach(s, false)
			s.gone, s.refused = true, s.id == 0
			return Event{EventReset, s}
		}
	}
	c.rested()
	return Event{}
}

// Streams returns how many streams the driver has in hand: those told with EventOpen and neither closed nor reset since.
func (c *Conn) Streams() int { return c.held }

// Over reports whether nothing will come: the connection is to be closed once Next tells nothing and Pending is empty.
func (c *Conn) Over() bool { return c.over }

// Denied reports whether the connection is over because the client has used up a budget.
func (c *Conn) Denied() bool { return c.denied }

// fail ends the connection with an error (RFC 9113, 5.4.1).
func (c *Conn) fail(why code) Event {
	if !c.over {
		c.denied = why == codeCalm
		c.goAway(c.lastID, why)
		c.over = true
	}
	return Event{}
}
