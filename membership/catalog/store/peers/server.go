package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is where the other proxies reach this one's catalog. Etcd has a
// listener of its own; with this one the cluster decides itself who gets past the
// handshake, and can end the connections of those that were revoked.
type Server struct {
	listener *listener
	server   *http.Server
	handler  atomic.Pointer[http.Handler] // nil until Handle
	who      func(tls.ConnectionState) (Role, string, string)
	admit    func(role Role, name, fingerprint string) error
	done     chan struct{} // closed when server has ended

	mu    sync.Mutex
	conns map[net.Conn]peer // those with a request under way, such as a stream of messages
}

type peer struct {
	role              Role
	name, fingerprint string
}

type connKey struct{}

const (
	headerTimeout = 10 * time.Second // for the handshake, and for the head of a request
	idleTimeout   = time.Minute      // between two requests on one connection
)

// Listen binds the address and serves it; until there is a handler the answer is 503. Admit is asked at
// each handshake and at each request.
func Listen(o *Options, admit func(role Role, name, fingerprint string) error, logger *slog.Logger) (*Server, error) {
	ln, err := listen(o.Listen, logger)
	if err != nil {
		return nil, fmt.Errorf("listen for the other proxies on %s: %w: stop what has the port, or choose another address with --catalog (catalog.address)", o.Listen, err)
	}
	s := &Server{listener: ln, who: o.Peer, admit: admit, conns: map[net.Conn]peer{}, done: make(chan struct{})}
	s.server = &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 32 << 10,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // etcd speaks HTTP/1.1
		ErrorLog:     slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ConnContext:  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	go func() {
		defer close(s.done)
		err := s.server.Serve(tls.NewListener(ln, o.ServerTLS(admit)))
		if !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the catalog does not listen for the other proxies any more", "error", err)
		}
	}()
	return s, nil
}

// Handle has requests answered by h from now on.
func (s *Server) Handle(h http.Handler) {
	s.handler.Store(&h)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := s.handler.Load()
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	if h == nil || r.TLS == nil || c == nil {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	var who peer
	who.role, who.name, who.fingerprint = s.who(*r.TLS)
	if err := s.admit(who.role, who.name, who.fingerprint); err != nil { // since the handshake
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if t, ok := c.(*tls.Conn); ok {
		if inner, ok := t.NetConn().(*conn); ok {
			inner.who.Store(&who)
			inner.new.Leave()
		}
	}
	s.mu.Lock()
	s.conns[c] = who
	s.mu.Unlock()
	gone := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}
	defer gone()
	defer context.AfterFunc(r.Context(), gone)() // the handler itself notices only when it writes
	(*h).ServeHTTP(w, r)
}

// Connected reports whether a proxy has a connection to this one.
func (s *Server) Connected(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, who := range s.conns {
		if who.name == name {
			return true
		}
	}
	return false
}

// Prune ends the connections of those that are turned away by now.
func (s *Server) Prune() {
	if s == nil {
		return
	}
	s.mu.Lock()
	conns := maps.Clone(s.conns)
	s.mu.Unlock()
	for c, who := range conns { // without the lock: admit asks which connections there are
		if s.admit(who.role, who.name, who.fingerprint) == nil {
			continue
		}
		_ = c.Close()
		s.mu.Lock()
		if s.conns[c] == who {
			delete(s.conns, c)
		}
		s.mu.Unlock()
	}
}

// Close ends the listener and every connection. It may be called on nil.
func (s *Server) Close() {
	if s == nil {
		return
	}
	_ = s.server.Close()
	<-s.done
}

// Reset ends the connections of a proxy on which nothing has come since then, and those that
// nobody has said a word on. It returns how many they are.
func (s *Server) Reset(name string, since time.Time) int { return s.listener.reset(name, since) }
