package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"portico/proxy/http1"
)

// origin is the way to one instance: where to connect, and the connections that
// are idle. http.Transport is not used for it, because it keeps to itself what
// has to be known here: it repeats requests without saying so, hands a connection
// with left-over bytes to the next visitor, normalizes targets, and does not say
// whether anything was sent when it fails.
type origin struct {
	addr     string
	tls      *tls.Config // nil: plain; the ServerName selects the instance
	checkTLS *tls.Config // the same for checks: they resume their TLS session, as each has a connection of its own
	limits   *http1.Limits
	connect  time.Duration
	maxIdle  int
	idleTime time.Duration

	engine atomic.Pointer[http1.Upstream] // the same way, for the engine; see way
	dials  atomic.Uint64
	reuses atomic.Uint64

	mu     sync.Mutex
	idle   []*originConn            // guarded by mu; the most recently used last
	all    map[*originConn]struct{} // guarded by mu
	closed bool                     // guarded by mu: no connection is kept any more
}

// originConn is one connection to an instance. One exchange uses it at a time.
type originConn struct {
	net.Conn
	raw    net.Conn // below TLS
	o      *origin
	in     []byte // received and not yet consumed
	idleAt time.Time
	used   bool // carried an exchange before
}

func (o *origin) same(addr string, cfg *tls.Config) bool {
	return o.addr == addr && (o.tls == nil) == (cfg == nil) && (cfg == nil || o.tls.ServerName == cfg.ServerName)
}

// take returns an idle connection that is still sound, or a new one. fresh asks
// for a new one.
func (o *origin) take(ctx context.Context, fresh bool) (c *originConn, err error) {
	for !fresh {
		if c = o.pop(); c == nil {
			break
		}
		if time.Since(c.idleAt) < o.idleTime && len(c.in) == 0 && quiet(c.raw) {
			o.reuses.Add(1)
			return c, nil
		}
		c.discard()
	}
	return o.dial(ctx, o.tls)
}

// forCheck returns a connection for a health check: a new one, which proves that the
// instance takes some.
func (o *origin) forCheck(ctx context.Context) (*originConn, error) { return o.dial(ctx, o.checkTLS) }

// resumes returns a configuration whose connections resume the TLS session of the one
// before, which spares both sides the signatures. Who the other side is, and whether the
// cluster still knows it, is verified all the same.
func resumes(c *tls.Config) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	c.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return c
}

func (o *origin) pop() *originConn {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.idle)
	if n == 0 {
		return nil
	}
	c := o.idle[n-1]
	o.idle[n-1] = nil
	o.idle = o.idle[:n-1]
	return c
}

func (o *origin) dial(ctx context.Context, cfg *tls.Config) (*originConn, error) {
	o.dials.Add(1)
	ctx, cancel := context.WithTimeout(ctx, o.connect)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", o.addr)
	if err != nil && exhausted(err) {
		return nil, fmt.Errorf("%w: %w", errExhausted, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDial, err)
	}
	c := &originConn{Conn: raw, raw: raw, o: o}
	if cfg != nil {
		t := tls.Client(raw, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, fmt.Errorf("%w: TLS: %w", errDial, err)
		}
		c.Conn = t
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[*originConn]struct{}{}
	}
	o.all[c] = struct{}{}
	return c, nil
}

// give keeps a connection for the next exchange. The caller has proven that the
// answer before was complete and nothing came after it.
func (o *origin) give(c *originConn) {
	_ = c.SetDeadline(time.Time{})
	c.in = nil
	c.used = true
	c.idleAt = time.Now()
	o.mu.Lock()
	if o.closed || len(o.idle) >= o.maxIdle {
		o.mu.Unlock()
		c.discard()
		return
	}
	o.idle = append(o.idle, c)
	o.mu.Unlock()
}

// prune closes idle connections that have waited too long.
func (o *origin) prune(now time.Time) {
	o.mu.Lock()
	keep := 0
	for keep < len(o.idle) && now.Sub(o.idle[keep].idleAt) >= o.idleTime {
		keep++
	}
	old := append([]*originConn(nil), o.idle[:keep]...)
	o.idle = append(o.idle[:0], o.idle[keep:]...)
	o.mu.Unlock()
	for _, c := range old {
		c.discard()
	}
}

// close lets running exchanges finish and keeps no connection after them.
func (o *origin) close() {
	o.mu.Lock()
	o.closed = true
	if u := o.engine.Load(); u != nil {
		u.Retire()
	}
	idle := o.idle
	o.idle = nil
	o.mu.Unlock()
	for _, c := range idle {
		c.discard()
	}
}

// cut ends every connection because the machine behind them is silent: requests
// that wait there for an answer would wait in vain. New connections are welcome.
func (o *origin) cut() {
	if u := o.engine.Swap(nil); u != nil {
		u.Kill()
	}
	o.mu.Lock()
	all := o.all
	o.all, o.idle = nil, nil
	o.mu.Unlock()
	for c := range all {
		_ = c.raw.Close()
	}
}

// kill cuts every connection at once: the member behind it is no longer trusted.
func (o *origin) kill() {
	o.close()
	if u := o.engine.Load(); u != nil {
		u.Kill()
	}
	o.mu.Lock()
	all := o.all
	o.all = nil
	o.mu.Unlock()
	for c := range all {
		_ = c.raw.Close()
	}
}

func (c *originConn) discard() {
	c.o.mu.Lock()
	delete(c.o.all, c)
	c.o.mu.Unlock()
	// Not the TLS connection's Close: its alert could block on a dead peer.
	_ = c.raw.Close()
}

// CloseWrite ends our direction only.
func (c *originConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}
