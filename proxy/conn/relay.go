package conn

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/wire"
)

// relay is an upgraded connection: bytes both ways, each way in a goroutine of its own, until both ends have said that they are done,
// one has failed, or nothing has moved for too long. While nothing moves it borrows no buffer, where the platform can wait without.
type relay struct {
	s    *session
	last atomic.Int64 // when bytes moved, or one side ended
	half atomic.Bool  // one side has
	over atomic.Bool

	mu   sync.Mutex
	end  ending           // why it is over; guarded by mu, set once
	owed [2]exchange.Owed // to the client and the upstream; guarded by mu
}

type ending uint8

const (
	endNone ending = iota // both ways ended in order
	endClient
	endUpstream
	endIdle
	endStop
)

// way is one direction of a relay.
type way struct {
	r        *relay
	from, to *sock
	fromEnd  ending // when from fails
	toEnd    ending // when to fails
	moved    int64
	buf      []byte // borrowed; while rest waits for to
	rest     []byte
	err      error // of the last read; io.EOF: from has ended its side
	large    bool  // the last read filled its buffer
}

// relay moves the bytes of an upgraded connection until it ends, and tells the exchange.
func (s *session) relay() {
	r := &relay{s: s}
	for _, k := range [2]*sock{&s.c.io, &s.u.io} {
		k.resume()
		if k.steady != nil {
			k.steady.patience.Store(int64(s.c.srv.opt.Timeouts.Tunnel))
			k.steady.rate = 0
		}
	}
	r.last.Store(s.c.srv.clock())
	up := &way{r: r, from: &s.c.io, to: &s.u.io, fromEnd: endClient, toEnd: endUpstream}
	down := &way{r: r, from: &s.u.io, to: &s.c.io, fromEnd: endUpstream, toEnd: endClient}
	upOpen, downOpen := s.x.Relay()
	r.half.Store(!upOpen || !downOpen)
	var wg sync.WaitGroup
	if downOpen {
		wg.Go(down.run)
	}
	if upOpen {
		up.run()
	}
	wg.Wait()
	s.now()
	s.x.Relayed(up.moved, down.moved, r.end == endNone)
	switch r.end {
	case endNone:
	case endClient:
		s.x.ClientGone()
	case endUpstream:
		s.x.Read(exchange.Up, 0, wire.Failed)
	case endIdle:
		s.x.Timeout()
		s.x.ClientGone() // it says so even if the clock disagrees
	case endStop:
		s.x.Abandon()
	}
}

// stop ends both ways. The first reason counts.
func (r *relay) stop(why ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == endNone {
		r.end = why
		r.over.Store(true)
		r.s.c.io.halt()
		r.s.u.io.halt()
	}
}

// run moves bytes until its source ends or the relay is over.
func (w *way) run() {
	try := w.move
	if w.arm() {
		for w.step(try) {
		}
	}
	w.drop()
}

// step waits for bytes and moves what there is; it reports whether the way goes on.
func (w *way) step(try func(uintptr) bool) bool {
	var err error
	if w.from.raw != nil {
		err = w.from.raw.Read(try)
	} else {
		err = w.read()
	}
	switch {
	case isTimeout(err):
		return w.patient() && w.arm()
	case err != nil:
		w.r.stop(w.fromEnd)
		return false
	case len(w.rest) > 0:
		return w.push()
	case errors.Is(w.err, io.EOF):
		w.ended()
		return false
	case w.err != nil:
		w.r.stop(w.fromEnd)
		return false
	}
	return true
}

// move is the callback of a raw read: it passes on all that is there, and returns false to wait for more. What the other side does not
// take at once is left in rest, because nothing may wait inside a callback but for its own socket.
func (w *way) move(fd uintptr) bool {
	for {
		w.borrow()
		n, err := w.from.receive(fd, w.buf)
		switch {
		case err == errAgain: // our own value, and this runs for every message
			w.drop()
			return false
		case err != nil:
			w.err = err
			return true
		case n == 0 && w.from.cut():
			w.err = io.ErrUnexpectedEOF
			return true
		case n == 0:
			w.err = io.EOF
			return true
		}
		w.large = n == len(w.buf)
		m := 0
		if w.to.raw != nil {
			m = w.to.offer(w.buf[:n])
		}
		w.note(m)
		if m < n {
			w.rest = w.buf[m:n]
			return true
		}
		// Read on also where the kernel says that nothing is left: it does not speak of a reset, which came with these bytes
		// and makes no event of its own.
	}
}

// read is for connections without raw system calls.
func (w *way) read() error {
	w.borrow()
	n, err := w.from.conn.Read(w.buf)
	w.rest = w.buf[:n]
	if errors.Is(err, io.EOF) && w.from.cut() {
		err = io.ErrUnexpectedEOF
	}
	if n > 0 || errors.Is(err, io.EOF) {
		w.err = err
		return nil
	}
	return err
}

// push writes what waits, for as long as it takes; a source that has ended meanwhile is seen by the next read.
func (w *way) push() bool {
	defer func() { _ = w.to.conn.SetWriteDeadline(time.Time{}) }()
	for len(w.rest) > 0 {
		_ = w.to.conn.SetWriteDeadline(time.Now().Add(look))
		if w.r.over.Load() {
			return false
		}
		n, res := w.to.write(w.rest, nil)
		w.note(n)
		w.rest = w.rest[n:]
		switch {
		case res == wire.Failed:
			w.r.stop(w.toEnd)
			return false
		case res == wire.Blocked && !w.patient():
			return false
		}
	}
	w.rest = nil
	if errors.Is(w.err, io.EOF) { // it came with the last bytes
		w.ended()
		return false
	}
	return true
}

// ended passes the end of one side on. The other one has the rest of its time from here on, and is told to look at it.
func (w *way) ended() {
	shut(w.to.conn)
	r := w.r
	r.last.Store(r.s.c.srv.clock())
	r.half.Store(true)
	for _, k := range [2]*sock{w.from, w.to} {
		if k.steady != nil {
			k.steady.allow(r.limit())
		}
	}
	_ = w.to.conn.SetReadDeadline(time.Unix(1, 0))
}

// limit is how long nothing may move.
func (r *relay) limit() time.Duration {
	t := &r.s.c.srv.opt.Timeouts
	if r.half.Load() {
		return t.Rest(t.Tunnel)
	}
	return t.Tunnel
}

// note counts bytes that have arrived.
func (w *way) note(n int) {
	if n > 0 {
		w.moved += int64(n)
		w.r.last.Store(w.r.s.c.srv.clock())
	}
}

// arm sets the deadline of the next look at the time, and reports whether the relay goes on.
func (w *way) arm() bool {
	srv := w.r.s.c.srv
	for {
		limit := w.r.limit()
		if limit > 0 {
			_ = w.from.conn.SetReadDeadline(srv.at(min(w.r.last.Load()+int64(limit), srv.clock()+int64(max(limit/8, 10*time.Millisecond)))))
		} else {
			_ = w.from.conn.SetReadDeadline(time.Time{})
		}
		if limit == w.r.limit() { // else the word of the other way's end may have been overwritten
			break
		}
	}
	if srv.ctx.Err() != nil { // its call to end may have been overwritten
		w.r.stop(endStop)
	}
	if w.r.over.Load() {
		return false
	}
	return true
}

// patient looks at the time after a deadline has passed, and reports whether the relay goes on.
func (w *way) patient() bool {
	srv := w.r.s.c.srv
	switch limit := w.r.limit(); {
	case w.r.over.Load():
		return false
	case srv.ctx.Err() != nil:
		w.r.stop(endStop)
		return false
	case w.r.s.u.up.Killed():
		w.r.stop(endUpstream)
		return false
	case limit > 0 && !w.r.takes() && srv.clock()-w.r.last.Load() >= int64(limit):
		w.r.stop(endIdle)
		return false
	}
	return true
}

// takes looks how much of what its sides were sent the system holds for them, and reports whether one has taken some since the last look.
func (r *relay) takes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.s.c.srv.clock()
	client := r.owed[exchange.Client].Look(now, r.s.c.io.held(), 0)
	if r.owed[exchange.Up].Look(now, r.s.u.io.held(), 0) || client {
		r.last.Store(now)
		return true
	}
	return false
}

// borrow gets a buffer: a small one unless there is much to move.
func (w *way) borrow() {
	size := smallSize
	if w.large {
		size = mediumSize
	}
	if len(w.buf) != size {
		w.drop()
		w.buf = w.r.s.c.srv.mem.Get(size)
	}
}

func (w *way) drop() {
	if w.buf != nil {
		w.r.s.c.srv.mem.Put(w.buf)
		w.buf, w.rest = nil, nil
	}
}
