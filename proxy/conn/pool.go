package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"portico/proxy/http1"
)

// upstream is one connection to an upstream.
type upstream struct {
	srv   *server
	up    *http1.Upstream
	conn  net.Conn
	io    sock
	peek  peeker
	since int64 // idle
	idle  bool  // it was, and nobody has looked since whether it is still good
	stale bool  // it was for long enough to look in any case
}

// lately is how long a connection may have been idle to be used without a look: when the last read of its answer did not fill its
// buffer, and for a request that could be repeated. A loop that handles a batch of events does not see what comes meanwhile either, nor
// an end that came with the answer: the write of a request meets it, and the request goes out once more on a connection of its own.
const lately = time.Millisecond

func (u *upstream) close() {
	_ = u.conn.Close()
	u.srv.upstreams.Add(-1)
	u.up.Count(-1, 0)
}

// pools holds the idle connections to all upstreams.
type pools struct {
	srv    *server
	mu     sync.Mutex
	byUp   map[*http1.Upstream]*pool
	closed bool
}

type pool struct{ idle []*upstream }

// get takes the connection that was put back last, or nil.
func (p *pools) get(up *http1.Upstream, now int64) *upstream {
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
		if u.io.raw != nil {
			u.stale = u.io.more || now-u.since > int64(lately)
			u.idle = true // send looks, when no end can come unseen any more
			return u
		}
		if u.peek.quiet() {
			return u
		}
		u.close() // closed by the origin, or bytes that are an answer to nobody
	}
}

func (p *pools) put(u *upstream, now int64) {
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
	u.since = now
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
				if u := c.up.Load(); u != nil && u.up.Killed() {
					_ = u.conn.SetDeadline(time.Unix(1, 0)) // no longer trusted; who uses it will look why
				}
			})
		}
	}
}

// shed closes all idle connections, because descriptors are short.
func (p *pools) shed() { p.sweep(true) }

func (p *pools) sweep(all bool) {
	now := p.srv.clock()
	var old []*upstream
	p.mu.Lock()
	for up, q := range p.byUp {
		idleFor := int64(up.IdleFor)
		if idleFor == 0 {
			idleFor = int64(30 * time.Second)
		}
		n := 0
		for n < len(q.idle) && (all || up.Retired() || now-q.idle[n].since > idleFor) {
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
}

// dial makes a connection, with its PROXY header and TLS.
func (srv *server) dial(up *http1.Upstream, peer *http1.Peer, local net.Addr) (*upstream, http1.Cause) {
	timeout := srv.opt.Timeouts.Connect
	if timeout < 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(srv.ctx, timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", up.Addr)
	if err != nil {
		return nil, cause(err)
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
			return nil, http1.CauseConnect
		}
		_ = c.SetWriteDeadline(time.Time{})
	}
	u.peek.init(c)
	if up.TLS != nil {
		t := tls.Client(&steady{Conn: c, halted: &u.io.halted, patience: srv.opt.Timeouts.Response}, up.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, cause(err)
		}
		u.conn = t
	}
	u.io.init(u.conn, srv.raw, srv.start)
	srv.upstreams.Add(1)
	up.Count(1, 0)
	return u, http1.CauseNone
}

func cause(err error) http1.Cause {
	switch {
	case outOfDescriptors(err):
		return http1.CauseBusy
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return http1.CauseConnectTime
	}
	return http1.CauseConnect
}
