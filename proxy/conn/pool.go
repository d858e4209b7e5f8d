package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"portico/internal/records"
	"portico/internal/unsent"
	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/http1"
)

// upstream is one connection to an upstream.
type upstream struct {
	srv   *server
	up    *exchange.Upstream
	conn  net.Conn
	io    sock
	peek  peeker
	below *records.Conn // below TLS; nil: plain
	until int64         // idle
	stays bool          // no other upstream can answer what it carries
	line  *line         // it is a stream of this connection; nil: a connection
	idle  bool          // it was, and nobody has looked since whether it is still good
}

// silent reports whether the TLS of a connection, if it has one, holds nothing that somebody would take for his answer.
func (u *upstream) silent() bool {
	t, ok := u.conn.(*tls.Conn)
	u.io.readTo = 0 // Silent takes the deadline away
	return !ok || u.below.Silent(t)
}

// unread reports whether a connection that has ended was relayed to an upstream that had read nothing of what was sent since its last byte.
func (u *upstream) unread() bool {
	t, ok := u.conn.(*tls.Conn)
	return ok && u.below.Unread(t)
}

// cutOff reports whether nobody is to wait for an answer any more.
func (u *upstream) cutOff() bool { return u.up.Killed() || u.up.Left() && !u.stays }

// halt ends whatever waits for it.
func (u *upstream) halt() { u.io.halt() }

func (u *upstream) close() {
	if u.line != nil {
		u.hang()
		return
	}
	_ = u.conn.Close()
	u.srv.upstreams.Add(-1)
	u.up.Count(-1)
}

// pools holds the idle connections to all upstreams.
type pools struct {
	srv    *server
	mu     sync.Mutex
	byUp   map[*exchange.Upstream]*pool
	lines  map[*exchange.Upstream][]*line // that carry many requests, those being made included
	closed bool
	wg     sync.WaitGroup // lines
}

type pool struct{ idle []*upstream }

// get takes the connection that was put back last and has nothing to say, or nil.
func (p *pools) get(up *exchange.Upstream, now int64) *upstream {
	for {
		p.mu.Lock()
		q := p.byUp[up]
		if q == nil || len(q.idle) == 0 {
			p.mu.Unlock()
			return nil
		}
		n := len(q.idle) - 1
		u := q.idle[n]
		q.idle[n] = nil
		q.idle = q.idle[:n]
		p.mu.Unlock()
		if u.until <= now {
			u.close()
			continue
		}
		if u.io.raw != nil {
			u.idle = true // send looks, when no end can come unseen any more
			return u
		}
		if u.silent() && u.peek.quiet() {
			return u
		}
		u.close() // closed by the origin, or bytes that are an answer to nobody
	}
}

// put keeps a connection that has nothing left to say, as far as can be told without a look at the socket; get looks there.
func (p *pools) put(u *upstream, until int64) {
	if !u.silent() {
		u.close()
		return
	}
	limit := u.up.MaxIdle
	if limit == 0 {
		limit = 64
	}
	p.mu.Lock()
	q := p.byUp[u.up]
	if q == nil {
		q = new(pool)
		p.byUp[u.up] = q
	}
	if p.closed || u.up.Retired() || u.up.SendProxy != 0 || len(q.idle) >= limit {
		p.mu.Unlock()
		u.close()
		return
	}
	u.until = until
	q.idle = append(q.idle, u)
	p.mu.Unlock()
}

// age closes connections that were idle for too long, once a second until the server stops.
func (p *pools) age() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-p.srv.ctx.Done():
			return
		case <-t.C:
			p.sweep(false)
			p.srv.each(func(c *client) {
				if m := c.mux.Load(); m != nil {
					m.sweep()
					return
				}
				c.look(func(u *upstream) {
					if u.cutOff() { // who uses it will look why it wakes, whichever side it waits for
						u.expire()
						c.interrupt()
					}
				})
				if c.own.sweep() {
					c.ending.Store(true)
					if c.idle.Load() {
						c.interrupt()
					}
				}
			})
		}
	}
}

// shed closes all idle connections, because descriptors are short.
func (p *pools) shed() { p.sweep(true) }

func (p *pools) sweep(all bool) {
	p.sweepLines(all)
	now := p.srv.clock()
	var old []*upstream
	p.mu.Lock()
	for up, q := range p.byUp {
		n := 0
		for n < len(q.idle) && (all || up.Retired() || q.idle[n].until <= now) {
			n++
		}
		old = append(old, q.idle[:n]...)
		q.idle = append(q.idle[:0], q.idle[n:]...)
		clear(q.idle[len(q.idle):cap(q.idle)])
		if len(q.idle) == 0 {
			delete(p.byUp, up)
		}
	}
	p.mu.Unlock()
	for _, u := range old {
		u.close()
	}
}

func (p *pools) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.sweep(true)
	p.cutLines()
}

// dial makes a connection, with its PROXY header and TLS.
func (srv *server) dial(base context.Context, up *exchange.Upstream, timeout time.Duration, peer *exchange.Peer, local net.Addr) (*upstream, account.Cause) {
	if timeout < 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(base, timeout)
	defer cancel()
	d := net.Dialer{Control: srv.control}
	c, err := d.DialContext(ctx, "tcp", up.Addr)
	if err != nil {
		return nil, srv.cause(err)
	}
	u := &upstream{srv: srv, up: up, conn: c}
	if up.SendProxy != 0 {
		var b [128]byte
		p := *peer
		if a, ok := local.(*net.TCPAddr); ok {
			p.Local = a.AddrPort()
		}
		_ = c.SetWriteDeadline(time.Now().Add(timeout))
		if _, err := c.Write(http1.AppendProxy(b[:0], up.SendProxy, p.Addr, p.Local)); err != nil {
			_ = c.Close()
			return nil, account.CauseConnect
		}
		_ = c.SetWriteDeadline(time.Time{})
	}
	u.peek.init(c)
	if up.TLS != nil {
		u.below = &records.Conn{Conn: c}
		t := tls.Client(makeSteady(u.below, c, &u.io.halted, srv.opt.Timeouts.Response), up.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, srv.cause(err)
		}
		u.conn = t
	}
	u.io.init(u.conn, srv.raw, srv.start)
	srv.upstreams.Add(1)
	up.Count(1)
	return u, account.CauseNone
}

// control looks at a socket before it connects.
func (srv *server) control(network, address string, c syscall.RawConn) error {
	if err := srv.files.Control(network, address, c); err != nil {
		return err
	}
	return unsent.ControlSilent(network, address, c)
}

func (srv *server) cause(err error) account.Cause {
	switch {
	case srv.files.Out(err):
		srv.pools.shed()
		return account.CauseBusy
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return account.CauseConnectTime
	}
	return account.CauseConnect
}
