package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"

	"portico/internal/gather"
)

// listener is one bound address.
type listener struct {
	net.Listener
	front *frontend
	tls   *tls.Config // nil: plain
}

// Listen binds the addresses. It can fail; Serve then has nothing to run. Port 0
// takes a free port, see Addr.
func (s *Server) Listen() error {
	addrs := []struct {
		key, addr string
		front     *frontend
		tls       *tls.Config
	}{
		{"proxy.http", s.o.Conf.HTTP, &s.plain, nil},
		{"proxy.https", s.o.Conf.HTTPS, &s.secure, s.tls},
	}
	for _, a := range addrs {
		if a.addr == "" {
			continue
		}
		l, err := s.o.Listen(a.front.name, a.addr)
		if err != nil {
			for _, open := range s.listeners {
				_ = open.Close()
			}
			s.listeners = nil
			return listenError(a.key, a.addr, err)
		}
		a.front.addr = l.Addr().String()
		s.listeners = append(s.listeners, &listener{Listener: l, front: a.front, tls: a.tls})
	}
	if len(s.listeners) == 0 {
		return errors.New("listen: neither proxy.http nor proxy.https is set")
	}
	var err error
	if s.engine, err = s.newEngine(); err != nil {
		for _, open := range s.listeners {
			_ = open.Close()
		}
		s.listeners = nil
		return fmt.Errorf("listen: %w", err)
	}
	s.ready = newHandoff(s.listeners[0].Addr())
	s.bound.Store(true)
	return nil
}

// listenError names the address and what to do about it.
func listenError(key, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: another program has this port: stop it, or set %s to another address (%w)", addr, key, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("listen on %s: not permitted: ports below 1024 need CAP_NET_BIND_SERVICE (or root), or set %s to a higher port (%w)", addr, key, err)
	}
	return fmt.Errorf("listen on %s: check %s: %w", addr, key, err)
}

// Addr returns the bound address of "http" or "https", or nil.
func (s *Server) Addr(frontend string) net.Addr {
	if !s.bound.Load() {
		return nil
	}
	for _, l := range s.listeners {
		if l.front.name == frontend {
			return l.Addr()
		}
	}
	return nil
}

// accept takes connections until the listener closes. When the system has no
// descriptors left it waits a little and goes on.
func (s *Server) accept(l *listener) {
	var pause time.Duration
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			s.wg.Go(func() { s.admit(l, c) })
			continue
		}
		if s.stopping.Load() || errors.Is(err, net.ErrClosed) {
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if pause >= 40*time.Millisecond {
			s.log.Warn("accept connection", "frontend", l.front.name, "error", err)
		}
		select {
		case <-time.After(pause):
		case <-s.bg.Done():
			return
		}
	}
}

// admit brings one connection from accept to net/http: limits, PROXY header, TLS.
func (s *Server) admit(l *listener, raw net.Conn) {
	peer, _ := netip.ParseAddrPort(raw.RemoteAddr().String())
	addr := peer.Addr().Unmap()
	t := &tracked{Conn: raw, front: l.front}
	limit := s.o.Conf.Limits
	if n := l.front.open(time.Now()); limit.Connections > 0 && int(n) > limit.Connections {
		l.front.deniedConns.Add(1)
		t.refuse(l.tls == nil)
		return
	}
	var c net.Conn = t
	header := s.o.Conf.Timeouts.Header.Std()
	if within(addr, s.spoken) {
		p := proxyproto.NewConn(t, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(header))
		if p.ProxyHeader() == nil { // reads it
			l.front.deniedConns.Add(1)
			_ = t.Close()
			return
		}
		if from, err := netip.ParseAddrPort(p.RemoteAddr().String()); err == nil {
			addr = from.Addr().Unmap()
		}
		c = p
	}
	if limit.PerAddress > 0 {
		t.addr, t.count = addr, &s.perAddr
		if s.perAddr.add(addr, 1) > limit.PerAddress {
			l.front.deniedConns.Add(1)
			t.refuse(l.tls == nil)
			return
		}
	}
	if l.tls == nil {
		l.front.h1.Add(1)
		s.ready.put(newGuard(c, &s.limits, header))
		return
	}
	tc := tls.Server(c, l.tls)
	ctx, cancel := context.WithTimeout(s.bg, header)
	err := tc.HandshakeContext(ctx)
	cancel()
	if err != nil {
		l.front.tlsErrors.Add(1)
		var rh tls.RecordHeaderError
		if errors.As(err, &rh) && rh.Conn != nil && looksLikeHTTP(rh.RecordHeader) {
			_, _ = rh.Conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
		}
		_ = t.Close()
		return
	}
	switch tc.ConnectionState().NegotiatedProtocol {
	case "h2":
		t.Conn = gather.New(t.Conn)
		l.front.h2.Add(1)
		s.ready.put(newFrames(tc, l.front))
	case "", "http/1.1":
		l.front.h1.Add(1)
		s.ready.put(tlsGuard{newGuard(tc, &s.limits, header), tc})
	default: // a TLS-ALPN-01 challenge: the handshake was all
		_ = tc.Close()
	}
}

func looksLikeHTTP(h [5]byte) bool {
	switch string(h[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// tracked counts a connection for as long as it is open.
type tracked struct {
	net.Conn
	front *frontend
	count *addrCount
	addr  netip.Addr
	once  sync.Once
}

// Close closes the connection and gives its place back.
func (t *tracked) Close() error {
	t.once.Do(func() {
		t.front.conns.Add(-1)
		if t.count != nil {
			t.count.add(t.addr, -1)
		}
	})
	return t.Conn.Close()
}

// CloseWrite ends our direction only.
func (t *tracked) CloseWrite() error {
	if c, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// refuse closes a connection above a limit, with a word to plain HTTP clients.
func (t *tracked) refuse(plain bool) {
	if plain {
		_ = t.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = t.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
		_ = t.CloseWrite()
	}
	_ = t.Close()
}

// addrCount counts connections for each client address.
type addrCount struct {
	mu sync.Mutex
	m  map[netip.Addr]int
}

func (a *addrCount) add(addr netip.Addr, n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = map[netip.Addr]int{}
	}
	a.m[addr] += n
	left := a.m[addr]
	if left <= 0 {
		delete(a.m, addr)
	}
	return left
}

// handoff is the listener that net/http sees: what comes out of it has passed
// PROXY header and TLS handshake.
type handoff struct {
	addr   net.Addr
	ch     chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, ch: make(chan net.Conn), closed: make(chan struct{})}
}

func (h *handoff) put(c net.Conn) {
	select {
	case h.ch <- c:
	case <-h.closed:
		_ = c.Close()
	}
}

func (h *handoff) close() { h.once.Do(func() { close(h.closed) }) }

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.ch:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error { h.close(); return nil }

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return h.addr }

// connInfo is what all requests of a connection have in common.
type connInfo struct {
	guard  *guard // nil for HTTP/2
	front  *frontend
	secure bool
	sni    string
	peer   netip.AddrPort
	port   string // that the client connected to
	conn   net.Conn
	resets atomic.Int64 // requests that an HTTP/2 client gave up
}

type connKey struct{}

// connContext implements http.Server.ConnContext.
func (s *Server) connContext(ctx context.Context, c net.Conn) context.Context {
	ci := &connInfo{front: &s.plain, conn: c}
	switch g := c.(type) {
	case tlsGuard:
		ci.guard, ci.secure = g.guard, true
		ci.sni = g.tls.ConnectionState().ServerName
	case *guard:
		ci.guard = g
	case *frames:
		ci.secure = true
		ci.sni = g.tls.ConnectionState().ServerName
	}
	if ci.secure {
		ci.front = &s.secure
	}
	ci.peer, _ = netip.ParseAddrPort(c.RemoteAddr().String())
	ci.peer = netip.AddrPortFrom(ci.peer.Addr().Unmap().WithZone(""), ci.peer.Port())
	_, ci.port, _ = net.SplitHostPort(c.LocalAddr().String())
	return context.WithValue(ctx, connKey{}, ci)
}

// challengePath is where an ACME authority looks for tokens (RFC 8555, 8.3).
const challengePath = "/.well-known/acme-challenge/"

// isChallenge reports whether a request is for the ACME handler, which alone
// answers there: no site ever sees it.
func (s *Server) isChallenge(r *http.Request, secure bool) bool {
	return s.challenge != nil && !secure && strings.HasPrefix(r.URL.Path, challengePath)
}
