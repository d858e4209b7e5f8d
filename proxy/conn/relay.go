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

// relay moves the bytes of an upgraded connection, each direction in a goroutine of its own. It ends when both sides have ended, when one
// has failed, or when nothing has moved for too long. While nothing moves it borrows no buffer, where the platform can wait without one.
type relay struct {
	s    *session
	last atomic.Int64 // when bytes moved, or one side ended
	half atomic.Bool  // one side has
	over atomic.Bool

	mu   sync.Mutex
	end  ending              // why it is over; guarded by mu, set once
	owed [2]exchange.Unacked // to the client and the upstream; guarded by mu
}

type ending uint8

const (
	endNone ending = iota // both directions ended in order
	endClient
	endUpstream
	endIdle
	endStop
)

// direction is one direction of a relay.
type direction struct {
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
	up := &direction{r: r, from: &s.c.io, to: &s.u.io, fromEnd: endClient, toEnd: endUpstream}
	down := &direction{r: r, from: &s.u.io, to: &s.c.io, fromEnd: endUpstream, toEnd: endClient}
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

// stop ends both directions. The first reason counts.
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
func (d *direction) run() {
	try := d.move
	if d.arm() {
		for d.step(try) {
		}
	}
	d.drop()
}

// step waits for bytes and moves what there is. It reports whether the direction goes on.
func (d *direction) step(try func(uintptr) bool) bool {
	var err error
	if d.from.raw != nil {
		err = d.from.raw.Read(try)
	} else {
		err = d.read()
	}
	switch {
	case isTimeout(err):
		return d.patient() && d.arm()
	case err != nil:
		d.r.stop(d.fromEnd)
		return false
	case len(d.rest) > 0:
		return d.push()
	case errors.Is(d.err, io.EOF):
		d.ended()
		return false
	case d.err != nil:
		d.r.stop(d.fromEnd)
		return false
	}
	return true
}

// move is the callback of a raw read. It passes on all that is there, and returns false to wait for more. It leaves in rest what the other
// side does not take at once: a callback may wait for its own socket only.
func (d *direction) move(fd uintptr) bool {
	for {
		d.borrow()
		n, err := d.from.receive(fd, d.buf)
		switch {
		case err == errAgain: // our own value, and this runs for every message
			d.drop()
			return false
		case err != nil:
			d.err = err
			return true
		case n == 0 && d.from.cut():
			d.err = io.ErrUnexpectedEOF
			return true
		case n == 0:
			d.err = io.EOF
			return true
		}
		d.large = n == len(d.buf)
		m := 0
		if d.to.raw != nil {
			m = d.to.offer(d.buf[:n])
		}
		d.note(m)
		if m < n {
			d.rest = d.buf[m:n]
			return true
		}
		// Read on even if the kernel says that nothing is left. A reset may have come with these bytes: the kernel does not
		// count it, and it makes no event of its own.
	}
}

// read is for connections without raw system calls.
func (d *direction) read() error {
	d.borrow()
	n, err := d.from.conn.Read(d.buf)
	d.rest = d.buf[:n]
	if errors.Is(err, io.EOF) && d.from.cut() {
		err = io.ErrUnexpectedEOF
	}
	if n > 0 || errors.Is(err, io.EOF) {
		d.err = err
		return nil
	}
	return err
}

// push writes what waits, for as long as that takes. If the source has ended meanwhile, the next read sees it.
func (d *direction) push() bool {
	defer func() { _ = d.to.conn.SetWriteDeadline(time.Time{}) }()
	for len(d.rest) > 0 {
		_ = d.to.conn.SetWriteDeadline(time.Now().Add(look))
		if d.r.over.Load() {
			return false
		}
		n, res := d.to.write(d.rest, nil)
		d.note(n)
		d.rest = d.rest[n:]
		switch {
		case res == wire.Failed:
			d.r.stop(d.toEnd)
			return false
		case res == wire.Blocked && !d.patient():
			return false
		}
	}
	d.rest = nil
	if errors.Is(d.err, io.EOF) { // it came with the last bytes
		d.ended()
		return false
	}
	return true
}

// ended passes the end of one side on. From here on the other side has less time, and its read is woken to look at the time anew.
func (d *direction) ended() {
	shut(d.to.conn)
	r := d.r
	r.last.Store(r.s.c.srv.clock())
	r.half.Store(true)
	for _, k := range [2]*sock{d.from, d.to} {
		if k.steady != nil {
			k.steady.allow(r.limit())
		}
	}
	_ = d.to.conn.SetReadDeadline(time.Unix(1, 0))
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
func (d *direction) note(n int) {
	if n > 0 {
		d.moved += int64(n)
		d.r.last.Store(d.r.s.c.srv.clock())
	}
}

// arm sets the deadline of the next look at the time, and reports whether the relay goes on.
func (d *direction) arm() bool {
	srv := d.r.s.c.srv
	for {
		limit := d.r.limit()
		if limit > 0 {
			_ = d.from.conn.SetReadDeadline(srv.at(min(d.r.last.Load()+int64(limit), srv.clock()+int64(max(limit/8, 10*time.Millisecond)))))
		} else {
			_ = d.from.conn.SetReadDeadline(time.Time{})
		}
		if limit == d.r.limit() { // else this has overwritten the deadline by which the other direction told of its end
			break
		}
	}
	if srv.ctx.Err() != nil { // this may have overwritten the deadline by which the server told of its end
		d.r.stop(endStop)
	}
	if d.r.over.Load() {
		return false
	}
	return true
}

// patient looks at the time after a deadline has passed, and reports whether the relay goes on.
func (d *direction) patient() bool {
	srv := d.r.s.c.srv
	switch limit := d.r.limit(); {
	case d.r.over.Load():
		return false
	case srv.ctx.Err() != nil:
		d.r.stop(endStop)
		return false
	case d.r.s.u.up.Killed():
		d.r.stop(endUpstream)
		return false
	case limit > 0 && !d.r.takes() && srv.clock()-d.r.last.Load() >= int64(limit):
		d.r.stop(endIdle)
		return false
	}
	return true
}

// takes looks how much of what was sent to either side the system still holds. It reports whether a side has taken some of it since the
// last look.
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
func (d *direction) borrow() {
	size := smallSize
	if d.large {
		size = mediumSize
	}
	if len(d.buf) != size {
		d.drop()
		d.buf = d.r.s.c.srv.mem.Get(size)
	}
}

func (d *direction) drop() {
	if d.buf != nil {
		d.r.s.c.srv.mem.Put(d.buf)
		d.buf, d.rest = nil, nil
	}
}
