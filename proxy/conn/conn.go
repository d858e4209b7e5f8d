// Package conn serves HTTP/1.1 and HTTP/2 with a goroutine for each connection, and one for each stream of HTTP/2. It runs wherever Go runs
// and behaves like package loop byte for byte; there it is the default.
//
// An exchange of which both directions move at once, an upload or a tunnel, gets a second goroutine for as long as it lasts. An idle
// connection owns no buffers. Unlike the loops, it notices a client of HTTP/1 that leaves while an origin is thinking only once a second; a
// stream that ends is noticed at once.
package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"portico/internal/descriptors"
	"portico/internal/tlstrim"
	"portico/internal/unsent"
	"portico/proxy/exchange"
	"portico/proxy/http1"
	"portico/proxy/http2"
)

// server is one driver.
type server struct {
	opt      exchange.Options
	raw      bool // use raw system calls where the connection allows it
	start    time.Time
	mem      memory
	sessions sync.Pool
	streams  sync.Pool // *streamed
	h2conf   http2.Config
	pools    pools
	files    *descriptors.Traffic

	mu       sync.Mutex
	conns    map[*client]struct{}
	draining atomic.Bool
	closed   bool

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // clients
	done   chan struct{}

	accepted  atomic.Uint64
	refused   atomic.Uint64
	clients   atomic.Int64
	waiting   atomic.Int64  // for a handshake
	shakes    chan struct{} // a place for each TLS handshake
	shaken    atomic.Uint64
	badTLS    atomic.Uint64
	upstreams atomic.Int64
	h2        atomic.Uint64 // clients that have agreed on HTTP/2
	denied    atomic.Uint64 // of those, the ones whose client used up a budget
}

// New prepares a driver. It takes the listeners over.
func New(o exchange.Options) (exchange.Driver, error) { return newServer(o, rawIO), nil }

func newServer(o exchange.Options, raw bool) *server {
	srv := &server{raw: raw, opt: o.WithDefaults(), start: time.Now(), conns: make(map[*client]struct{}), done: make(chan struct{})}
	srv.shakes = make(chan struct{}, srv.opt.Handshakes)
	srv.ctx, srv.cancel = context.WithCancel(context.Background())
	srv.pools.srv = srv
	srv.files = descriptors.New(srv.opt.Logger)
	srv.h2conf = http2.Config{Limits: &srv.opt.Limits, Timeouts: &srv.opt.Timeouts}
	srv.pools.byUp, srv.pools.lines = make(map[*exchange.Upstream]*pool), make(map[*exchange.Upstream][]*line)
	return srv
}

// clock is nanoseconds since the driver was made, never zero.
func (srv *server) clock() int64 { return int64(time.Since(srv.start)) + 1 }

// at turns a time of the clock into one for deadlines.
func (srv *server) at(t int64) time.Time { return srv.start.Add(time.Duration(t)) }

// Serve accepts until Shutdown or until ctx is done.
func (srv *server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		done, cancel := context.WithCancel(context.Background())
		cancel()
		_ = srv.Shutdown(done)
	})
	defer stop()
	var wg sync.WaitGroup
	for i := range srv.opt.Listeners {
		wg.Go(func() { srv.accept(i) })
	}
	wg.Go(srv.pools.age)
	wg.Wait()
	srv.wg.Wait()
	srv.pools.close()
	close(srv.done)
	return nil
}

// accept serves one listener. Without descriptors it answers 503 to those who wait, and waits a little: those that are open will be closed.
func (srv *server) accept(index int) {
	ln := srv.opt.Listeners[index]
	var last reserveFD
	last.open()
	defer last.close()
	for {
		c, err := ln.Accept()
		if err == nil && !srv.files.KeepOpen(c) {
			srv.accepted.Add(1)
			srv.refuseNow(c, ln.TLS != nil)
			err = descriptors.ErrKept
		}
		if err != nil {
			if srv.draining.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			srv.pools.shed()
			if srv.files.Out(err) {
				srv.refuseWaiting(ln.Listener, ln.TLS != nil, &last)
			}
			select {
			case <-srv.ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		srv.accepted.Add(1)
		if limit := srv.opt.MaxConns; limit > 0 && srv.clients.Load() >= int64(limit) {
			srv.refuse(c, ln.TLS != nil)
			continue
		}
		unsent.LimitSilent(c)
		srv.clients.Add(1)
		cl := &client{srv: srv, base: c, conn: c, index: index, addr: remote(c)}
		if !srv.add(cl) {
			_ = c.Close()
			srv.clients.Add(-1)
			continue
		}
		srv.wg.Go(cl.serve)
	}
}

const busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"

// refuse closes a connection, with a word to plain HTTP clients, without waiting for any of it.
func (srv *server) refuse(c net.Conn, isTLS bool) {
	srv.wg.Go(func() { srv.refuseNow(c, isTLS) })
}

func (srv *server) refuseNow(c net.Conn, isTLS bool) {
	srv.refused.Add(1)
	defer func() { _ = c.Close() }()
	if isTLS {
		return
	}
	_, _ = c.Write([]byte(busy)) // a new socket has room for it
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	var b [2048]byte
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) // others wait behind this one
	_, _ = c.Read(b[:])                                          // what is here already would turn the close into a reset
}

func remote(c net.Conn) netip.AddrPort {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

func (srv *server) add(c *client) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed || srv.draining.Load() {
		return false
	}
	srv.conns[c] = struct{}{}
	return true
}

func (srv *server) remove(c *client) {
	srv.mu.Lock()
	delete(srv.conns, c)
	srv.mu.Unlock()
	srv.clients.Add(-1)
}

// StopAccepting gives up the listeners.
func (srv *server) StopAccepting() {
	for _, ln := range srv.opt.Listeners {
		_ = ln.Close()
	}
}

// Shutdown drains until ctx is done, then cuts what is left.
func (srv *server) Shutdown(ctx context.Context) error {
	srv.draining.Store(true)
	for _, ln := range srv.opt.Listeners {
		_ = ln.Close()
	}
	srv.each((*client).drain)
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	var err error
	for srv.clients.Load() > 0 && err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-t.C:
			srv.each((*client).drain) // idle since the last look
		}
	}
	srv.cancel()
	srv.mu.Lock()
	srv.closed = true
	srv.mu.Unlock()
	srv.each((*client).cut)
	<-srv.done
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (srv *server) each(f func(*client)) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	for c := range srv.conns {
		f(c)
	}
}

// Stats sums up.
func (srv *server) Stats() exchange.Stats {
	return exchange.Stats{
		Accepted: srv.accepted.Load(), Refused: srv.refused.Load(), Short: srv.files.Short(), Clients: srv.clients.Load(), Upstreams: srv.upstreams.Load(),
		HTTP2: srv.h2.Load(), Denied: srv.denied.Load(), Handshakes: srv.shaken.Load(), BadTLS: srv.badTLS.Load(), Shaking: int64(len(srv.shakes)), Waiting: srv.waiting.Load(),
	}
}

// client is one connection of a client.
type client struct {
	srv    *server
	base   net.Conn // as it was accepted
	conn   net.Conn // base, or *tls.Conn over it; only for the connection's own goroutine
	io     sock
	index  int
	addr   netip.AddrPort
	local  netip.AddrPort
	seen   int64  // the clock, when it was read last
	name   string // from SNI
	h2     bool   // HTTP/2 was agreed on
	idle   atomic.Bool
	closed func() // tells who counts; nil: nobody does
	inside inside
	up     atomic.Pointer[upstream] // to be cut with the client
	looks  sync.Mutex               // held by another goroutine that uses what it found in up
	owned  bool                     // own has been used
	served bool                     // it has had an answer
	own    own
	ending atomic.Bool         // a connection of own has ended: the next answer is the last one
	mux    atomic.Pointer[mux] // it speaks HTTP/2; nil: HTTP/1
}

// drain ends a connection that waits for its next request.
func (c *client) drain() {
	if m := c.mux.Load(); m != nil {
		m.drain()
	} else if c.idle.Load() {
		c.interrupt()
	}
}

// look does something with the connection to an upstream that the client has, if it has one.
func (c *client) look(f func(*upstream)) {
	c.looks.Lock()
	defer c.looks.Unlock()
	if u := c.up.Load(); u != nil {
		f(u)
	}
}

// interrupt wakes a goroutine that waits for the next request.
func (c *client) interrupt() { _ = c.base.SetReadDeadline(time.Unix(1, 0)) }

// cut ends whatever the connection does.
func (c *client) cut() {
	c.io.halted.Store(true)
	_ = c.base.SetDeadline(time.Unix(1, 0))
	c.look((*upstream).halt)
	if m := c.mux.Load(); m != nil {
		m.cut()
	}
}

func (c *client) serve() {
	if !c.open() {
		_ = c.conn.Close()
		c.left()
		return
	}
	c.io.init(c.conn, c.srv.raw, c.srv.start)
	if c.h2 {
		c.srv.wg.Go(c.serveMux) // what waits there needs half the stack that the handshake has made
		return
	}
	c.serveHTTP1()
}

// left tells those who count that the connection has ended.
func (c *client) left() {
	if c.closed != nil {
		c.closed()
	}
	c.own.close()
	c.srv.remove(c)
}

// serveHTTP1 serves one request after the other.
func (c *client) serveHTTP1() {
	defer c.left()
	c.io.tell()
	for {
		s := c.await()
		if s == nil {
			c.close()
			return
		}
		op := s.run()
		c.served = s.x.HasServed()
		s.leave()
		switch op {
		case exchange.OpIdle:
		case exchange.OpAbort:
			c.reset()
			return
		default:
			c.close()
			return
		}
	}
}

// close says good-bye in TLS, too; the linger before it is the exchange's business.
func (c *client) close() { _ = c.conn.Close() }

// reset closes so that what was cut cannot look complete.
func (c *client) reset() {
	raw := c.conn
	raw = rawConn(raw)
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = raw.Close()
}

// open reads a PROXY protocol header where one must come, and makes the TLS handshake.
func (c *client) open() bool {
	ln := &c.srv.opt.Listeners[c.index]
	for _, p := range ln.ProxyFrom {
		if p.Contains(c.addr.Addr()) {
			if !c.proxyHeader() {
				return false
			}
			break
		}
	}
	if f := c.srv.opt.Opened; f != nil && !f(c.index, c.addr.Addr()) {
		c.srv.refused.Add(1)
		if ln.TLS == nil {
			_ = c.conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = c.conn.Write([]byte(busy))
		}
		return false
	}
	if f := c.srv.opt.Closed; f != nil {
		index, addr := c.index, c.addr.Addr()
		c.closed = func() { f(index, addr) }
	}
	if ln.TLS == nil {
		return true
	}
	return c.handshake(ln.TLS)
}

func (c *client) proxyHeader() bool {
	_ = c.conn.SetDeadline(time.Now().Add(c.srv.opt.Handshake))
	b := make([]byte, 0, http1.ProxyHeaderMax)
	for len(b) < cap(b) {
		// A byte at a time: what follows belongs to the client, and this happens once for a connection.
		if _, err := c.conn.Read(b[len(b) : len(b)+1]); err != nil {
			return false
		}
		b = b[:len(b)+1]
		n, src, _, err := http1.ParseProxy(b)
		if err != nil {
			return false
		}
		if n > 0 {
			if src.IsValid() {
				c.addr = src
			}
			return c.conn.SetDeadline(time.Time{}) == nil
		}
	}
	return false
}

// greeted waits for the first byte: a connection that says nothing holds no place among the handshakes.
func (c *client) greeted() bool {
	c.idle.Store(true)
	defer c.idle.Store(false)
	_ = c.conn.SetReadDeadline(time.Now().Add(c.srv.opt.Handshake))
	if c.srv.draining.Load() {
		return false
	}
	g := &peekedConn{Conn: c.base}
	n, err := c.base.Read(g.first[:])
	g.unread, c.conn = n, g
	return n > 0 && err == nil && c.conn.SetReadDeadline(time.Time{}) == nil
}

// turn waits for a place among the handshakes.
func (c *client) turn(ctx context.Context) bool {
	c.srv.waiting.Add(1)
	defer c.srv.waiting.Add(-1)
	select {
	case c.srv.shakes <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *client) handshake(cfg *tls.Config) bool {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.opt.Handshake)
	defer cancel()
	if !c.greeted() {
		return false
	}
	if !c.turn(ctx) {
		return false
	}
	t := tls.Server(newSteady(c.conn, c.base, &c.io.halted, &c.srv.opt.Timeouts), cfg)
	err := t.HandshakeContext(ctx)
	<-c.srv.shakes
	c.srv.shaken.Add(1)
	if err != nil {
		c.srv.badTLS.Add(1)
		return false
	}
	tlstrim.Trim(t)
	quickAck(c.base)
	_ = t.SetDeadline(time.Time{})
	state := t.ConnectionState()
	c.conn, c.name = t, state.ServerName
	switch state.NegotiatedProtocol {
	case "", "http/1.1":
		return true
	case "h2":
		c.h2 = true
		return true
	}
	return false // a TLS-ALPN-01 challenge: the handshake was all
}

// rest begins the time between two requests; it reports whether there is to be another one.
func (c *client) rest() bool {
	c.idle.Store(true)
	if c.srv.draining.Load() || c.ending.Load() {
		return false
	}
	c.io.readBy(c.seen + int64(c.srv.opt.Timeouts.Idle))
	return !c.srv.draining.Load() && !c.ending.Load() // an interrupt in between would have been overwritten
}

// await waits for the first byte of a request. While it waits, the connection owns nothing but its goroutine.
func (c *client) await() *session {
	defer c.idle.Store(false)
	if c.seen == 0 {
		c.seen = c.srv.clock()
	}
	if !c.rest() {
		return nil
	}
	for {
		s := c.first()
		if s != nil || !c.io.timedOut || c.srv.draining.Load() || c.ending.Load() || !c.io.early() {
			return s
		}
		c.io.again()
	}
}

// peekedConn is the client's connection below TLS, from which a byte was read to know that a handshake comes.
type peekedConn struct {
	net.Conn
	first  [1]byte
	unread int
}

// Read implements net.Conn.
func (c *peekedConn) Read(b []byte) (int, error) {
	if c.unread > 0 && len(b) > 0 {
		c.unread = 0
		return copy(b, c.first[:]), nil
	}
	return c.Conn.Read(b)
}

// CloseWrite ends our direction only.
func (c *peekedConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
