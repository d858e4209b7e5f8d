package conn

import (
	"context"
	"sync/atomic"
	"time"

	"portico/proxy/http2"
	"portico/proxy/wire"
)

// lane is what a stream is to the exchange that serves it: it stands for a client's connection. Who has to wait leaves his buffers here,
// and whoever learns that it is time, the connection's reader mostly, fills or empties them on his behalf.
type lane struct {
	m     *mux
	st    *http2.Stream
	wake  func()      // the session's, where it is parked
	picks int         // how often the session may still read without waiting, see pick
	dirty atomic.Bool // it may have something to send
	gone  atomic.Bool // the stream or its connection is over

	// What follows is guarded by m.mu.

	up     *upstream          // to be cut with the stream
	cancel context.CancelFunc // of a dial; nil: none
	poked  bool               // waits end once
	halted bool               // no more waits, see sock.halt

	in       []byte // of a read that waits
	inN      int    // what it has brought
	inRes    wire.Result
	a, b     []byte // of a write that waits
	end      bool   // the stream ends with it
	writes   bool   // it does
	seen     uint64 // m.moves, when it was looked at last
	held     bool   // the client takes bytes, only none of this stream's: others come first
	wrote    int    // what it has moved
	wroteRes wire.Result

	// For who waits: a value says to look again.
	arrived, taken chan struct{}
	readTimer      *time.Timer
	writeTimer     *time.Timer
}

// picksMost is so low that an instance which does not take a body, and says so, is heard.
const picksMost = 2

// laneOf returns the lane of a stream; nil: nobody has it any more.
func laneOf(st *http2.Stream) *lane {
	switch user := st.User.(type) {
	case *streamed:
		return &user.lane
	case *lane:
		return user
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// begin makes a lane of a stream. The lock is held.
func (l *lane) begin(m *mux, st *http2.Stream, wake func()) {
	if l.arrived == nil {
		l.arrived, l.taken = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	l.m, l.st, l.wake, l.picks = m, st, wake, picksMost
	l.dirty.Store(false)
	l.gone.Store(false)
	l.poked, l.halted = false, false
	l.in, l.writes = nil, false
}

// read waits for bytes of the request's body.
func (l *lane) read(b []byte, by int64) (n int, res wire.Result) {
	m := l.m
	m.lock()
	defer m.unlock()
	if n, res = l.take(b); res != wire.Blocked || n > 0 {
		return n, res
	}
	if l.dirty.Swap(false) {
		m.flush()
	}
	for l.in = b; l.in != nil && l.patient(); {
		d := l.left(by)
		if d <= 0 {
			break
		}
		m.settle()
		if l.in == nil {
			break
		}
		m.mu.Unlock()
		await(l.arrived, &l.readTimer, d)
		m.lock()
	}
	if l.in == nil {
		return l.inN, l.inRes
	}
	l.in = nil
	return 0, l.idle()
}

// take reads what is there.
func (l *lane) take(b []byte) (int, wire.Result) {
	if l.st == nil {
		return 0, wire.Failed
	}
	n, res := l.st.Read(b)
	if n > 0 {
		l.dirty.Store(true) // the client may be owed room
	}
	if res == wire.Failed && l.m.line == nil {
		res = l.idle()
	}
	return n, res
}

// idle is what an operation comes to that has moved nothing. Where the driver stops, the exchange is to learn that, not that its client is
// gone.
func (l *lane) idle() wire.Result {
	l.poked = false
	if l.gone.Load() && l.m.c.srv.ctx.Err() == nil {
		return wire.Failed
	}
	return wire.Blocked
}

// broken is told that a stream to an origin is over: a read or write that waits is to see that.
func (l *lane) broken() {
	l.readable()
	l.writable()
}

// readable is told that bytes have come.
func (l *lane) readable() {
	if l.in != nil {
		l.inN, l.inRes = l.take(l.in)
		if l.inN > 0 || l.inRes != wire.Blocked {
			l.in = nil
			signal(l.arrived)
		}
	}
}

// write writes all of the answer's bytes, and with them the stream's end if end is set.
func (l *lane) write(a, b []byte, end bool, by int64) (n int, res wire.Result) {
	m := l.m
	m.lock()
	defer m.unlock()
	l.dirty.Store(true)
	l.a, l.b, l.end, l.wrote, l.writes = a, b, end, 0, true
	l.writable()
	for l.writes && l.patient() {
		if l.dirty.Swap(false) {
			m.flush()
			continue
		}
		d := l.left(by)
		if d <= 0 {
			break
		}
		m.settle()
		if !l.writes {
			break
		}
		m.mu.Unlock()
		await(l.taken, &l.writeTimer, d)
		m.lock()
	}
	if m.line != nil && l.dirty.Swap(false) { // others of its session's may wait meanwhile, none of this connection's
		m.flush()
	}
	l.held = false
	if l.writes {
		l.held, l.seen = l.seen != m.moves && l.st != nil && l.st.Held(), m.moves
		l.writes, l.wroteRes = false, l.idle()
	}
	l.a, l.b = nil, nil
	return l.wrote, l.wroteRes
}

// writable writes on behalf of who waits.
func (l *lane) writable() {
	if !l.writes {
		return
	}
	n, res := 0, wire.Failed
	if l.st != nil {
		n, res = l.st.Write(l.a, l.b, l.end)
	}
	l.wrote += n
	k := min(n, len(l.a))
	l.a, l.b = l.a[k:], l.b[n-k:]
	if n > 0 {
		l.dirty.Store(true)
	}
	switch res {
	case wire.Blocked:
		return
	case wire.Failed:
		if l.wroteRes = res; l.m.line == nil {
			l.wroteRes = l.idle()
		}
	default:
		l.wroteRes = wire.More
	}
	l.writes = false
	signal(l.taken)
}

// patient reports whether a wait may go on.
func (l *lane) patient() bool { return !l.poked && !l.halted && !l.gone.Load() }

// left is how long a wait may still take.
func (l *lane) left(by int64) time.Duration { return time.Duration(by - l.m.c.srv.clock()) }

// await waits for a signal. It makes one timer for all waits of a lane.
func await(c chan struct{}, t **time.Timer, d time.Duration) {
	if *t == nil {
		*t = time.NewTimer(d)
	} else {
		(*t).Reset(d)
	}
	select {
	case <-c:
		(*t).Stop()
	case <-(*t).C:
	}
}

// shut ends a tunnel's bytes to the client.
func (l *lane) shut() {
	l.m.lock()
	defer l.m.unlock()
	if l.st != nil {
		l.st.Write(nil, nil, true)
	}
	if l.dirty.Store(true); l.m.line != nil {
		l.m.flush()
	}
}

// flush sends what waits, before its session does something that may take time.
func (l *lane) flush() {
	if l.dirty.Swap(false) {
		l.m.lock()
		defer l.m.unlock()
		l.m.flush()
	}
}

// reset is told that the stream is over: whatever its session waits for, it is to see that at once.
func (l *lane) reset() {
	l.gone.Store(true)
	l.stop()
}

// stop ends whatever the session waits for.
func (l *lane) stop() {
	if l.up != nil {
		l.up.io.halt()
	}
	if l.cancel != nil {
		l.cancel()
	}
	l.poke()
}

// poke ends a wait of the session's for its client.
func (l *lane) poke() {
	l.poked = true
	signal(l.arrived)
	signal(l.taken)
	l.wake()
}

// halt is sock.halt.
func (l *lane) halt(on bool) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.halted = on; on {
		signal(l.arrived)
		signal(l.taken)
	}
}

// attach makes an upstream's connection end with the stream.
func (l *lane) attach(u *upstream) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.up = u; u != nil && l.gone.Load() {
		u.io.halt()
	}
}

// dialing is the context of a dial, which ends with the stream.
func (l *lane) dialing() context.Context {
	ctx, cancel := context.WithCancel(l.m.c.srv.ctx)
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.cancel = cancel; l.gone.Load() {
		cancel()
	}
	return ctx
}

// dialed ends it.
func (l *lane) dialed() {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.cancel()
	l.cancel = nil
}

// Head implements exchange.Sink. The lock is held until the head has ended: nothing may come between its parts.
func (l *lane) Head(status int) {
	l.m.lock()
	l.st.Head(status)
}

// Field implements exchange.Sink.
func (l *lane) Field(name, value []byte) { l.st.Field(name, value) }

// EndHead implements exchange.Sink.
func (l *lane) EndHead(last bool) {
	l.st.EndHead(last)
	l.dirty.Store(true)
	l.m.unlock()
}
