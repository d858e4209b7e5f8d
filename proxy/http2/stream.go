package http2

import (
	"sync"

	"portico/proxy/http2/priority"
	"portico/proxy/wire"
)

// Stream is one request and its answer. It is the driver's from EventOpen until it calls Close or Reset, once, whatever has become of the
// stream; nothing may be called after that.
type Stream struct {
	User any // the driver's own

	c    *Conn
	id   uint32
	next *Stream // in its bucket of streams

	before, after *Stream // of those that the driver has

	request []byte
	open    bool // something follows the request's head
	ended   bool // the client has ended its side
	sent    bool // we have ended ours
	gone    bool // reset, or the connection is over: nothing more is sent or told
	bad     bool // the request is malformed: there is no text of it; or the answer is
	listed  bool // in streams.bucket: its state is neither idle nor closed

	body   body
	length int64  // Content-Length, -1 without
	got    int64  // bytes of the body so far
	tail   []byte // borrowed: the buffer of the trailers
	trail  []byte

	receive int  // bytes of DATA that the client may send
	span    int  // of that window, as wide as it has grown
	owed    int  // bytes that were taken and not given back yet
	told    bool // EventReadable was given and not everything was read since

	window   int // bytes of DATA that we may send
	urge     priority.Urgency
	blocked  bool // Write has said so: EventWritable is owed
	waiting  bool // in the queue of its level
	prev     *Stream
	follow   *Stream
	waits    int64    // since when
	began    int64    // of one to an origin: when its request was sent
	refused  bool     // the origin has not looked at it
	reset    bool     // it has reset it for another reason
	cancel   bool     // which is that nobody waits for it, as a deadline of the client's has passed
	final    bool     // the head of the answer has come
	bodyless bool     // no body belongs to it
	tunnel   bool     // an extended CONNECT was sent
	text     int      // bytes at the beginning of body that are heads: no window counts them
	accept   [28]byte // what proves that a WebSocket's key was understood

	headAt  int  // where the frame of the head stands that is being written, behind what is written of the output
	heading bool // a head is being written
}

// streamPool holds streams for all connections: one that rests keeps none.
var streamPool = sync.Pool{New: func() any { return new(Stream) }}

// streams are those of a connection.
type streams struct {
	*lanes            // nil while the driver has no stream
	open   int        // in the buckets
	mine   *Stream    // all that the driver has, the latest first
	held   int        // of those
	lastID uint32     // the highest that the client has opened
	closed [32]uint32 // those closed last; closedByUs where we have reset them
	oldest int        // of closed
}

const closedByUs = 1 << 31

// lanes is what only a connection with streams needs: one that rests is to cost little.
type lanes struct {
	buckets       [32]*Stream     // streams by their number
	fronts, backs [levels]*Stream // those that wait for the line, by urgency; their own windows are open
}

var lanePool = sync.Pool{New: func() any { return new(lanes) }}

func bucket(id uint32) int { return int(id>>1) & 31 }

// find returns a stream that is open or half-closed.
func (t *streams) find(id uint32) *Stream {
	if t.lanes == nil {
		return nil
	}
	s := t.buckets[bucket(id)]
	for s != nil && s.id != id {
		s = s.next
	}
	return s
}

// was tells what is remembered of a stream that is closed.
func (t *streams) was(id uint32) (known, byUs bool) {
	for _, old := range t.closed {
		if old&^closedByUs == id {
			return true, old&closedByUs != 0
		}
	}
	return false, false
}

// remember notes that a stream is closed.
func (t *streams) remember(id uint32, byUs bool) {
	if byUs {
		id |= closedByUs
	}
	t.closed[t.oldest] = id
	t.oldest = (t.oldest + 1) % len(t.closed)
}

// attach makes a stream for a request.
func (c *Conn) attach(id uint32, ended bool) *Stream {
	s := c.take()
	s.id, s.ended, s.open = id, ended, !ended
	c.list(s)
	return s
}

// list makes a stream one that is found by its number.
func (c *Conn) list(s *Stream) {
	s.listed = true
	s.next = c.buckets[bucket(s.id)]
	c.buckets[bucket(s.id)] = s
	c.streams.open++
}

// take gives the driver a new stream.
func (c *Conn) take() *Stream {
	if c.lanes == nil {
		c.lanes = lanePool.Get().(*lanes)
	}
	s := streamPool.Get().(*Stream)
	chunks := s.body.chunks[:0]
	*s = Stream{c: c, length: -1, receive: windowUsual, span: windowUsual, window: c.initial}
	s.body.chunks = chunks
	if s.after = c.mine; s.after != nil {
		s.after.before = s
	}
	c.mine = s
	c.held++
	return s
}

// detach closes the stream as far as HTTP/2 goes (RFC 9113, 5.1).
func (c *Conn) detach(s *Stream, byUs bool) {
	c.unwait(s)
	if !s.listed {
		return
	}
	s.listed = false
	p := &c.buckets[bucket(s.id)]
	for *p != s {
		p = &(*p).next
	}
	*p = s.next
	c.streams.open--
	c.remember(s.id, byUs)
}

// release ends the driver's part.
func (c *Conn) release(s *Stream) {
	c.detach(s, true)
	if c.data == s {
		c.data = nil
	}
	if c.lent == s {
		c.lent = nil
		c.free(c.lentEnd - c.lentAt)
	}
	c.free(max(s.body.drop(c.mem)-s.text, 0))
	if s.tail != nil {
		c.mem.Put(s.tail[:cap(s.tail)])
	}
	if s.before != nil {
		s.before.after = s.after
	} else {
		c.mine = s.after
	}
	if s.after != nil {
		s.after.before = s.before
	}
	if c.turning == s {
		c.turning = nil
	}
	s.c, s.User, s.tail, s.trail, s.request, s.before, s.after, s.next = nil, nil, nil, nil, nil, nil, nil, nil
	streamPool.Put(s)
	if c.held--; c.held == 0 {
		lanePool.Put(c.lanes) // all of it is nil by now
		c.lanes = nil
		c.rest = c.now
		c.last()
	}
}

// Request returns the request as HTTP/1 text, valid until the next [Conn.Next].
func (s *Stream) Request() []byte { return s.request }

// Malformed reports whether the request is none (RFC 9113, 8.1.1): then Request is empty, and the stream is to be Reset. Of one to an
// origin it reports whether the answer is none, which was told the origin.
func (s *Stream) Malformed() bool { return s.bad }

// Open reports whether a body, or a tunnel's bytes, follow the head.
func (s *Stream) Open() bool { return s.open }

// Trailers returns the trailer section of the request at EOF, nil without one: lines with CRLF and an empty one. They hold until Close
// or Reset.
func (s *Stream) Trailers() []byte { return s.trail }

// Close tells that the exchange is over in order. A client that still sends its request is told to stop (RFC 9113, 8.1).
func (s *Stream) Close() {
	c := s.c
	switch {
	case s.gone:
	case !s.sent:
		c.addReset(s.id, codeInternal)
	default:
		if !s.ended {
			c.part(s.id)
		}
		c.resets.add(1)
	}
	c.release(s)
}

// Reset ends the stream with an error that the reason names, so that a cut answer cannot look complete.
func (s *Stream) Reset(why wire.Reset) {
	c := s.c
	if !s.gone && !(s.sent && s.ended) {
		c.addReset(s.id, codeFor(why))
	}
	c.release(s)
}

func codeFor(why wire.Reset) code {
	switch why {
	case wire.ResetCancel:
		return codeCancel
	case wire.ResetUnshared:
		return codeHTTP1
	case wire.ResetMalformed:
		return codeProtocol
	case wire.ResetInternal:
	}
	return codeInternal
}

// wrong ends a stream that is open for an error of the other end's (RFC 9113, 5.4.2).
func (c *Conn) wrong(s *Stream, why code) Event {
	c.addReset(s.id, why)
	c.detach(s, true)
	if !c.gaveUp() {
		return Event{} // cut tells it
	}
	s.gone, s.bad = true, c.origin != nil
	return Event{EventReset, s}
}

// refuse ends a stream that nobody has been told of.
func (c *Conn) refuse(id uint32, why code) Event {
	c.addReset(id, why)
	c.remember(id, true)
	c.gaveUp()
	return Event{}
}
