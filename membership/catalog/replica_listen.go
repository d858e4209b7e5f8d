package catalog

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
)

// peerServer is where the other proxies reach this one's catalog. Etcd has a
// listener of its own; with this one the cluster decides itself who gets past the
// handshake, and can end the connections of those that were revoked.
type peerServer struct {
	listener *peerListener
	server   *http.Server
	handler  atomic.Pointer[http.Handler] // nil until the server has read its files
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
	peerHeaderTimeout = 10 * time.Second // for the handshake, and for the head of a request
	peerIdleTimeout   = time.Minute      // between two requests on one connection
)

// listenPeers binds the address and serves it; until the server is there the
// answer is 503.
func (s *store) listenPeers() (*peerServer, error) {
	p := s.o.Peers
	if p == nil {
		return nil, fmt.Errorf("%w: the catalog in %s is one of several proxies", ErrAlone, s.o.Dir)
	}
	ln, err := listenPeerConns(p.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the other proxies on %s: %w: stop what has the port, or choose another address with --catalog (catalog.address)", p.Listen, err)
	}
	ps := &peerServer{listener: ln, who: p.Peer, admit: s.admit, conns: map[net.Conn]peer{}, done: make(chan struct{})}
	ps.server = &http.Server{
		Handler: ps, ReadHeaderTimeout: peerHeaderTimeout, IdleTimeout: peerIdleTimeout, MaxHeaderBytes: 32 << 10,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // etcd speaks HTTP/1.1
		ErrorLog:     slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		ConnContext:  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	go func() {
		defer close(ps.done)
		err := ps.server.Serve(tls.NewListener(ln, p.ServerTLS(s.admit)))
		if !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("the catalog does not listen for the other proxies any more", "error", err)
		}
	}()
	return ps, nil
}

// serve hands requests to the server.
func (p *peerServer) serve(s *store, e *embed.Etcd) {
	if p == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/", etcdhttp.NewPeerHandler(e.GetLogger(), e.Server))
	mux.HandleFunc("GET "+pathReplica, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.ownState()) // the client has gone
	})
	h := http.Handler(mux)
	p.handler.Store(&h)
}

// ServeHTTP implements http.Handler.
func (p *peerServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := p.handler.Load()
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	if h == nil || r.TLS == nil || conn == nil {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	var who peer
	who.role, who.name, who.fingerprint = p.who(*r.TLS)
	if err := p.admit(who.role, who.name, who.fingerprint); err != nil { // since the handshake
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if t, ok := conn.(*tls.Conn); ok {
		if c, ok := t.NetConn().(*peerConn); ok {
			c.who.Store(&who)
		}
	}
	p.mu.Lock()
	p.conns[conn] = who
	p.mu.Unlock()
	gone := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
	}
	defer gone()
	defer context.AfterFunc(r.Context(), gone)() // the handler itself notices only when it writes
	(*h).ServeHTTP(w, r)
}

// connected reports whether a proxy has a connection to this one.
func (p *peerServer) connected(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, who := range p.conns {
		if who.name == name {
			return true
		}
	}
	return false
}

// prune ends the connections of those that are turned away by now.
func (p *peerServer) prune() {
	if p == nil {
		return
	}
	p.mu.Lock()
	conns := maps.Clone(p.conns)
	p.mu.Unlock()
	for c, who := range conns { // without the lock: admit asks which connections there are
		if p.admit(who.role, who.name, who.fingerprint) == nil {
			continue
		}
		_ = c.Close()
		p.mu.Lock()
		if p.conns[c] == who {
			delete(p.conns, c)
		}
		p.mu.Unlock()
	}
}

// close ends the listener and every connection. It may be called on nil.
func (p *peerServer) close() {
	if p == nil {
		return
	}
	_ = p.server.Close()
	<-p.done
}
