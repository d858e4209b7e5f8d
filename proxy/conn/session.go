package conn

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/wire"
)

const (
	all      = exchange.ReadClient | exchange.WriteClient | exchange.ReadUpstream | exchange.WriteUpstream
	upward   = exchange.ReadClient | exchange.WriteUpstream
	downward = exchange.ReadUpstream | exchange.WriteClient
	// How long a goroutine sleeps in a read or write at most before it looks at the exchange's timers, and whether the client is
	// still there. Timers are therefore late by this much at most when they move to an earlier time meanwhile.
	look = time.Second
)

// session is an exchange with its two connections.
type session struct {
	x   exchange.Exchange
	c   *client
	u   *upstream
	cp  peeker
	has bool // cp is for c

	// While both directions move independently, mu guards the exchange; reads and writes happen without it.
	mu      sync.Mutex
	turn    sync.Cond
	final   exchange.Op // what ends the exchange, set once
	ended   bool
	both    bool // they do
	halves  sync.WaitGroup
	downFn  func() // down, made once
	writing bool   // to the upstream

	call *call // kept from one use to the next; nil before it was needed

	sending
	full   bool        // the upstream took nothing at once: wait for it
	next   exchange.Op // what the exchange has said already; OpWait: ask
	inside bool        // a read of the client's is under way, see serveInside

	wakeFn func()        // wake, made once
	woken  chan struct{} // a parked request should look again; may hold a call for the request before
}

// wake may be called by anybody at any time.
func (s *session) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// first reads the first bytes of a request into a session; nil when none came. With raw system calls, it serves requests meanwhile,
// and returns the session of one for which that cannot be done.
func (c *client) first() *session {
	if c.io.raw == nil {
		s := c.session()
		n, res := c.io.read(s.x.Space(exchange.Client))
		return s.begun(n, res)
	}
	return c.serveInside()
}

func (s *session) begun(n int, res wire.Result) *session {
	if n == 0 {
		s.leave()
		return nil
	}
	s.x.Read(exchange.Client, n, res)
	return s
}

func (c *client) session() *session {
	s, ok := c.srv.sessions.Get().(*session)
	if !ok {
		s = new(session)
		s.prepare()
	}
	s.begin(c)
	return s
}

// prepare makes what a session keeps for good.
func (s *session) prepare() {
	s.turn.L = &s.mu
	s.woken = make(chan struct{}, 1)
	s.wakeFn, s.sendFn, s.downFn = s.wake, s.trySend, s.down
	s.x.Waker(s.wakeFn)
}

// begin makes a session serve a client.
func (s *session) begin(c *client) {
	s.c = c
	if !c.local.IsValid() {
		if a, ok := c.conn.LocalAddr().(*net.TCPAddr); ok {
			c.local = a.AddrPort()
		}
	}
	_, isTLS := c.conn.(*tls.Conn)
	c.seen = c.srv.clock()
	s.x.Begin(&c.srv.opt.Config, &c.srv.mem, c.addr, c.local, isTLS, c.name, c.index, c.seen)
	s.x.Peer().Lane = int(c.addr.Port())
	if c.served {
		s.x.Served()
	}
	if c.owned {
		c.own.each(func(u *upstream) { s.x.Own(u.up) })
	}
	s.ended, s.writing, s.full, s.next, s.inside = false, false, false, exchange.OpWait, false
}

// leave gives everything back.
func (s *session) leave() {
	srv := s.c.srv
	s.release()
	srv.sessions.Put(s)
}

func (s *session) release() {
	if s.u != nil {
		s.drop()
	}
	s.x.Release()
	s.c, s.has = nil, false
}

// now reads the clock. After what did not wait it need not be read: the record of a request is good to a few microseconds.
func (s *session) now() {
	s.c.seen = s.c.srv.clock()
	s.x.Now(s.c.seen)
}

// run serves requests until there is no more to do, and returns what ends the exchange; inside a read, also OpWait, with what is to be
// done outside in next.
func (s *session) run() exchange.Op {
	for {
		s.x.Only(all)
		if s.c.srv.draining.Load() {
			s.x.Drain()
		}
		op := s.next
		if s.next = exchange.OpWait; op == exchange.OpWait {
			op = s.x.Next()
		}
		if s.inside && s.leaves(op) {
			s.next = op
			return exchange.OpWait
		}
		reads := op == exchange.OpReadClient || op == exchange.OpReadUpstream
		if l := s.c.io.lane; l != nil {
			if reads && s.pick(l) {
				continue
			}
			if waits(op) {
				l.flush()
			}
		} else if reads && s.x.Tunnel() && s.u != nil && s.u.line == nil {
			s.relay()
			continue
		}
		if reads && s.x.Streaming() {
			op = s.stream(op)
			if op == exchange.OpWait {
				continue
			}
		}
		switch op {
		case exchange.OpIdle, exchange.OpClose, exchange.OpAbort:
			return op
		case exchange.OpReadClient:
			if s.idle() {
				return exchange.OpIdle
			}
			s.readClient()
		case exchange.OpWait:
			s.park()
		default:
			s.do(op)
		}
	}
}

// waits reports whether an operation may take time.
func waits(op exchange.Op) bool {
	switch op {
	case exchange.OpReadUpstream, exchange.OpWriteUpstream, exchange.OpConnect, exchange.OpWait:
		return true
	}
	return false
}

// leaves reports whether an operation cannot be done inside a read of the client's: what reads from it, what ends it, what may take
// a second goroutine.
func (s *session) leaves(op exchange.Op) bool {
	switch op {
	case exchange.OpReadClient:
		return !s.idle()
	case exchange.OpReadUpstream:
		return s.x.Tunnel() || s.x.Streaming()
	case exchange.OpIdle, exchange.OpConnect, exchange.OpWriteClient, exchange.OpWriteUpstream, exchange.OpReleaseUpstream, exchange.OpKeepUpstream,
		exchange.OpDropUpstream:
		return false
	default:
		return true
	}
}

// idle reports whether the exchange is between requests: the buffers need not wait with it.
func (s *session) idle() bool { return s.x.Idle() }

// park waits for a call, or for a timer. It looks after the client meanwhile.
func (s *session) park() {
	d := int64(look)
	if at := s.x.Deadline(); at != 0 {
		d = min(d, at-s.c.srv.clock())
	}
	if d > 0 {
		t := time.NewTimer(time.Duration(d))
		defer t.Stop()
		select {
		case <-s.woken:
			s.now()
			if s.left() {
				break
			}
			s.x.Wake()
			return
		case <-t.C:
		case <-s.c.srv.ctx.Done():
			s.now()
			s.x.Abandon()
			return
		}
	}
	s.now()
	if s.clientBroken() {
		s.x.ClientGone()
		return
	}
	s.look()
	s.x.Timeout()
}

// clientBroken reports whether the client's connection was reset.
func (s *session) clientBroken() bool {
	if s.c.io.lane != nil {
		return s.left()
	}
	if !s.has {
		s.cp.init(rawConn(s.c.conn))
		s.has = true
	}
	return s.cp.broken()
}

// left reports whether a client that is a stream has left; not where the driver stops, which ends all of them.
func (s *session) left() bool {
	l := s.c.io.lane
	return l != nil && l.gone.Load() && s.c.srv.ctx.Err() == nil
}

// do performs what needs no second goroutine.
func (s *session) do(op exchange.Op) {
	switch op {
	case exchange.OpReadUpstream:
		s.readUpstream()
	case exchange.OpWriteClient:
		s.deadline(&s.c.io, true)
		a, b := s.x.Pending(exchange.Client)
		s.c.io.ends = s.x.Ends(exchange.Client)
		n, res := s.c.io.write(a, b)
		s.waited(&s.c.io)
		s.wrote(n, res)
		s.late(res)
	case exchange.OpWriteUpstream:
		if s.u.io.raw != nil && !s.full {
			s.send()
			return
		}
		s.full = false
		s.deadline(&s.u.io, true)
		s.ending(&s.u.io)
		a, b := s.x.Pending(exchange.Up)
		n, res := s.u.io.write(a, b)
		s.waited(&s.u.io)
		s.x.Wrote(exchange.Up, n, res)
		s.late(res)
	default:
		s.control(op)
	}
}

// control performs what moves no bytes.
func (s *session) control(op exchange.Op) {
	switch op {
	case exchange.OpConnect:
		s.connect()
	case exchange.OpReleaseUpstream:
		u := s.u
		s.hold(nil)
		if u.line != nil {
			u.close()
			return
		}
		if u.io.halted.Load() { // the stream has ended at this moment
			u.close()
			return
		}
		s.c.srv.pools.put(u, s.c.seen+int64(s.x.KeepFor()))
	case exchange.OpKeepUpstream:
		u := s.u
		s.hold(nil)
		s.c.owned = true
		if !s.c.own.put(u) {
			s.x.Ended(u.up)
		}
	case exchange.OpDropUpstream:
		s.drop()
	case exchange.OpShutClient:
		if l := s.c.io.lane; l != nil {
			l.shut()
			return
		}
		shut(s.c.conn)
	case exchange.OpShutUpstream:
		switch u := s.u; {
		case u == nil:
		case u.line != nil:
			u.io.lane.shut()
		default:
			shut(u.conn)
		}
	}
}

func (s *session) drop() {
	if u := s.u; u != nil {
		s.hold(nil)
		u.close()
	}
}

// hold makes u the session's connection to an upstream; nil: it has none.
func (s *session) hold(u *upstream) {
	if old := s.u; old != nil && old.line != nil { // it is used again: those who look after the client let go of it first
		s.c.looks.Lock()
		defer s.c.looks.Unlock()
	}
	s.u = u
	s.c.up.Store(u)
	if l := s.c.io.lane; l != nil {
		l.attach(u)
	}
}

func shut(c net.Conn) {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
	}
}

func (s *session) connect() {
	s.drop()
	up := s.x.Upstream()
	if up.Killed() {
		s.x.ConnectFailed(account.CauseConnect)
		return
	}
	if up.HTTP2 {
		s.connectCall(up)
		return
	}
	reused := true
	var u *upstream
	switch {
	case s.x.Mine():
		if u = s.c.own.get(up); u == nil {
			s.x.Lost()
			return
		}
	case !s.x.Fresh():
		u = s.c.srv.pools.get(up, s.c.seen)
	}
	if u == nil {
		var why account.Cause
		reused = false
		if u, why = s.dial(up); u == nil {
			s.now()
			if s.left() {
				s.x.ClientGone()
				return
			}
			s.x.ConnectFailed(why)
			return
		}
		if up.Killed() { // meanwhile
			u.close()
			s.now()
			s.x.ConnectFailed(account.CauseConnect)
			return
		}
	}
	u.io.shared = s.both
	u.stays = s.x.Stays()
	s.hold(u)
	if !reused {
		s.now()
	}
	if s.c.srv.ctx.Err() != nil {
		s.x.Abandon()
		return
	}
	s.x.Connected(reused, 0)
}

// dial makes a connection to an upstream, unless the client leaves meanwhile and that can be seen.
func (s *session) dial(up *exchange.Upstream) (*upstream, account.Cause) {
	ctx := s.c.srv.ctx
	if l := s.c.io.lane; l != nil {
		ctx = l.dialing()
		defer l.dialed()
	}
	return s.c.srv.dial(ctx, up, s.x.ConnectTime(), s.x.Peer(), s.c.conn.LocalAddr())
}

// waited reads the clock after a write that took its time.
func (s *session) waited(k *sock) {
	if k.waited {
		s.now()
	}
}

// deadline arms a read or write with the exchange's next timer, or with the next look.
func (s *session) deadline(k *sock, write bool) {
	now := s.c.seen
	at := now + int64(look)
	d := s.x.Deadline()
	if d != 0 && d < at {
		at = max(d, now)
	}
	if write && k.steady != nil {
		at = now + int64(k.steady.glance())
	}
	if write {
		k.writeBy(at)
	} else {
		k.readBy(at)
	}
	if k.lane == nil && s.left() { // what should have ended the wait may have come before
		_ = k.conn.SetDeadline(time.Unix(1, 0))
	}
}

// late looks at the timers after an operation that ran into its deadline.
func (s *session) late(res wire.Result) {
	if res != wire.Blocked {
		return
	}
	if s.c.srv.ctx.Err() != nil {
		s.x.Abandon()
		return
	}
	if s.left() {
		s.x.ClientGone()
		return
	}
	if s.u != nil && s.u.cutOff() && (s.u.up.Killed() || !s.x.Stays()) {
		s.x.Revoke()
		return
	}
	s.took()
	s.look()
	s.x.Timeout()
}

// look tells the exchange how much of what its sides were sent the system holds for them, where it wants to know.
func (s *session) look() {
	if s.x.Asks(exchange.Client) {
		s.x.Holds(exchange.Client, s.c.io.held())
	}
	if s.x.Asks(exchange.Up) {
		if u := s.u; u != nil {
			s.x.Holds(exchange.Up, u.io.held())
		} else {
			s.x.Holds(exchange.Up, -1)
		}
	}
}

// took tells the exchange what has moved in writes that are still under way.
func (s *session) took() {
	if k := s.c.io.steady; k != nil && k.moved.Swap(false) {
		s.x.Took(exchange.Client)
	}
	if s.u == nil {
		return
	}
	if k := s.u.io.steady; k != nil && k.moved.Swap(false) {
		s.x.Took(exchange.Up)
	}
}

func (s *session) readClient() {
	s.deadline(&s.c.io, false)
	n, res := s.c.io.read(s.x.Space(exchange.Client))
	if s.c.io.timedOut {
		s.c.io.again()
	}
	s.now()
	s.body(n, res)
	s.late(res)
}

func (s *session) readUpstream() {
	s.deadline(&s.u.io, false)
	n, res := s.u.io.read(s.x.Space(exchange.Up))
	s.heard(n, res)
}

// heard tells the exchange what came from the upstream. When nothing has come for a while, it looks after the client.
func (s *session) heard(n int, res wire.Result) {
	if s.u.io.timedOut {
		s.u.io.again()
	}
	s.now()
	if res == wire.EOF && s.u.line == nil && s.u.unread() {
		s.x.Unread()
	}
	s.heardEnd(res)
	s.x.Read(exchange.Up, n, res)
	if res == wire.Blocked {
		if s.clientBroken() {
			s.x.ClientGone()
			return
		}
		if s.has && s.cp.ended() {
			s.x.ClientEnded()
		}
	}
	s.late(res)
}

func rawConn(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*steady); ok {
		c = t.base
	}
	return c
}
