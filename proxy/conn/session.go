package conn

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"portico/proxy/http1"
)

const (
	all      = http1.ReadClient | http1.WriteClient | http1.ReadUpstream | http1.WriteUpstream
	upward   = http1.ReadClient | http1.WriteUpstream
	downward = http1.ReadUpstream | http1.WriteClient
	// How long a goroutine sleeps in a read or write at most before it looks at the exchange's timers, and whether the client is
	// still there. Timers are therefore late by this much at most when they move to an earlier time meanwhile.
	look = time.Second
)

// session is an exchange with its two connections.
type session struct {
	x   http1.Exchange
	c   *client
	u   *upstream
	cp  peeker
	has bool // cp is for c

	// While both directions move independently, mu guards the exchange; reads and writes happen without it.
	mu      sync.Mutex
	turn    sync.Cond
	final   http1.Op // what ends the exchange, set once
	ended   bool
	both    bool // they do
	writing bool // to the upstream

	sending
	full   bool     // the upstream took nothing at once: wait for it
	next   http1.Op // what the exchange has said already; OpWait: ask
	inside bool     // a read of the client's is under way, see serveInside

	woken chan struct{} // a parked request should look again; may hold a call for the request before
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
		n, res := c.io.read(s.x.Space(http1.Client))
		return s.begun(n, res)
	}
	return c.serveInside()
}

func (s *session) begun(n int, res http1.Result) *session {
	if n == 0 {
		s.leave()
		return nil
	}
	s.x.Read(http1.Client, n, res)
	return s
}

func (c *client) session() *session {
	s, ok := c.srv.sessions.Get().(*session)
	if !ok {
		s = new(session)
		s.turn.L = &s.mu
		s.woken = make(chan struct{}, 1)
		s.x.Waker(s.wake)
		s.sendFn = s.trySend
	}
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
	s.ended, s.writing, s.full, s.next, s.inside = false, false, false, http1.OpWait, false
	return s
}

// leave gives everything back.
func (s *session) leave() {
	if s.u != nil {
		s.drop()
	}
	srv := s.c.srv
	s.x.Release()
	s.c, s.has = nil, false
	srv.sessions.Put(s)
}

// now reads the clock. After what did not wait it need not be read: the record of a request is good to a few microseconds.
func (s *session) now() {
	s.c.seen = s.c.srv.clock()
	s.x.Now(s.c.seen)
}

// run serves requests until there is no more to do, and returns what ends the exchange; inside a read, also OpWait, with what is to be
// done outside in next.
func (s *session) run() http1.Op {
	for {
		s.x.Only(all)
		if s.c.srv.draining.Load() {
			s.x.Drain()
		}
		op := s.next
		if s.next = http1.OpWait; op == http1.OpWait {
			op = s.x.Next()
		}
		if s.inside && s.leaves(op) {
			s.next = op
			return http1.OpWait
		}
		if s.x.Tunnel() && (op == http1.OpReadClient || op == http1.OpReadUpstream) {
			s.relay()
			continue
		}
		if (op == http1.OpReadClient || op == http1.OpReadUpstream) && s.x.Streaming() {
			op = s.stream(op)
			if op == http1.OpWait {
				continue
			}
		}
		switch op {
		case http1.OpIdle, http1.OpClose, http1.OpAbort:
			return op
		case http1.OpHandover:
			s.c.give(s.x.Leftover())
			return op
		case http1.OpReadClient:
			if s.idle() {
				return http1.OpIdle
			}
			s.readClient()
		case http1.OpWait:
			s.park()
		default:
			s.do(op)
		}
	}
}

// leaves reports whether an operation cannot be done inside a read of the client's: what reads from it, what ends it, what may take
// a second goroutine.
func (s *session) leaves(op http1.Op) bool {
	switch op {
	case http1.OpReadClient:
		return !s.idle()
	case http1.OpReadUpstream:
		return s.x.Tunnel() || s.x.Streaming()
	case http1.OpIdle, http1.OpConnect, http1.OpWriteClient, http1.OpWriteUpstream, http1.OpReleaseUpstream, http1.OpDropUpstream:
		return false
	default:
		return true
	}
}

// idle reports whether the exchange is between requests: the buffers need not wait with it.
func (s *session) idle() bool { return s.x.Idle() }

// park waits for a call, or for a timer. It looks after the client meanwhile.
func (s *session) park() {
	if d := s.x.Deadline() - s.c.srv.clock(); d > 0 {
		t := time.NewTimer(min(time.Duration(d), look))
		defer t.Stop()
		select {
		case <-s.woken:
			s.now()
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
	s.x.Timeout()
}

// clientBroken reports whether the client's connection was reset.
func (s *session) clientBroken() bool {
	if !s.has {
		s.cp.init(rawConn(s.c.conn))
		s.has = true
	}
	return s.cp.broken()
}

// do performs what needs no second goroutine.
func (s *session) do(op http1.Op) {
	switch op {
	case http1.OpReadUpstream:
		s.readUpstream()
	case http1.OpWriteClient:
		s.deadline(&s.c.io, true)
		a, b := s.x.Pending(http1.Client)
		n, res := s.c.io.write(a, b)
		s.waited(&s.c.io)
		s.x.Wrote(http1.Client, n, res)
		s.late(res)
	case http1.OpWriteUpstream:
		if s.u.io.raw != nil && !s.full {
			s.send()
			return
		}
		s.full = false
		s.deadline(&s.u.io, true)
		a, b := s.x.Pending(http1.Up)
		n, res := s.u.io.write(a, b)
		s.waited(&s.u.io)
		s.x.Wrote(http1.Up, n, res)
		s.late(res)
	default:
		s.control(op)
	}
}

// control performs what moves no bytes.
func (s *session) control(op http1.Op) {
	switch op {
	case http1.OpConnect:
		s.connect()
	case http1.OpReleaseUpstream:
		u := s.u
		s.u = nil
		s.c.up.Store(nil)
		s.c.srv.pools.put(u, s.c.seen)
	case http1.OpDropUpstream:
		s.drop()
	case http1.OpShutClient:
		shut(s.c.conn)
	case http1.OpShutUpstream:
		if s.u != nil {
			shut(s.u.conn)
		}
	}
}

func (s *session) drop() {
	if s.u != nil {
		s.u.close()
		s.u = nil
		s.c.up.Store(nil)
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
	reused := true
	var u *upstream
	if !s.x.Fresh() {
		u = s.c.srv.pools.get(up, s.c.seen)
	}
	if u == nil {
		var why http1.Cause
		reused = false
		if u, why = s.c.srv.dial(up, s.x.Peer(), s.c.conn.LocalAddr()); u == nil {
			s.now()
			s.x.ConnectFailed(why)
			return
		}
	}
	s.u = u
	u.io.shared = s.both
	s.c.up.Store(u)
	if !reused {
		s.now()
	}
	if s.c.srv.ctx.Err() != nil {
		s.x.Abandon()
		return
	}
	s.x.Connected(reused, 0)
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
		if at = 0; k.steady.patience > 0 {
			at = now + int64(k.steady.patience)
		}
		k.writeBy(at)
		return
	}
	if write {
		k.writeBy(at)
		return
	}
	k.readBy(at)
}

// late looks at the timers after an operation that ran into its deadline.
func (s *session) late(res http1.Result) {
	if res != http1.Blocked {
		return
	}
	if s.c.srv.ctx.Err() != nil {
		s.x.Abandon()
		return
	}
	if s.u != nil && s.u.up.Killed() {
		s.x.Read(http1.Up, 0, http1.Failed) // no longer trusted
		return
	}
	s.x.Timeout()
}

func (s *session) readClient() {
	s.deadline(&s.c.io, false)
	n, res := s.c.io.read(s.x.Space(http1.Client))
	if s.c.io.timedOut {
		s.c.io.again()
	}
	s.now()
	s.x.Read(http1.Client, n, res)
	s.late(res)
}

func (s *session) readUpstream() {
	s.deadline(&s.u.io, false)
	n, res := s.u.io.read(s.x.Space(http1.Up))
	s.heard(n, res)
}

// heard tells the exchange what came from the upstream. When nothing has come for a while, it looks after the client.
func (s *session) heard(n int, res http1.Result) {
	if s.u.io.timedOut {
		s.u.io.again()
	}
	s.now()
	s.x.Read(http1.Up, n, res)
	if res == http1.Blocked {
		if s.clientBroken() {
			s.x.ClientGone()
			return
		}
	}
	s.late(res)
}

func rawConn(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*steady); ok {
		c = t.Conn
	}
	if h, ok := c.(*hooked); ok {
		c = h.Conn
	}
	return c
}
