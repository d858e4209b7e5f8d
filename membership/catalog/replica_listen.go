package catalog

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
)

// peerServer is where the other proxies reach this one's catalog. Etcd has a
// listener of its own; with this one the cluster decides itself who gets past the
// handshake, and can end the connections of those that were revoked.
type peerServer struct {
	listener net.Listener
	server   *http.Server
	handler  atomic.Pointer[http.Handler] // nil until the server has read its files
	who      func(tls.ConnectionState) (Role, string, string)
	done     chan struct{} // closed when server has ended

	mu    sync.Mutex
	conns map[net.Conn]peer // those that sent a request
}

type peer struct {
	role              Role
	name, fingerprint string
}

type connKey struct{}

// peerHeaderTimeout bounds the handshake and the head of a request.
const peerHeaderTimeout = 10 * time.Second

// listenPeers binds the address and serves it; until the server is there the
// answer is 503.
func (s *store) listenPeers() (*peerServer, error) {
	p := s.o.Peers
	if p == nil {
		return nil, fmt.Errorf("%w: the catalog in %s is one of several proxies", ErrAlone, s.o.Dir)
	}
	// A connection on which nothing moves is a dead one: the proxies speak several
	// times a second.
	ln, err := transport.NewListenerWithOpts(p.Listen, "http", transport.WithTimeout(rafthttp.ConnReadTimeout, rafthttp.ConnWriteTimeout))
	if err != nil {
		return nil, fmt.Errorf("listen for the other proxies: %w: set catalog.address to one that is free", err)
	}
	ps := &peerServer{listener: ln, who: p.Peer, conns: map[net.Conn]peer{}, done: make(chan struct{})}
	ps.server = &http.Server{
		Handler: ps, ReadHeaderTimeout: peerHeaderTimeout, MaxHeaderBytes: 32 << 10,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // etcd speaks HTTP/1.1
		ErrorLog:     slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		ConnContext:  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				ps.mu.Lock()
				delete(ps.conns, c)
				ps.mu.Unlock()
			}
		},
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

// Addr is where it listens.
func (p *peerServer) addr() net.Addr { return p.listener.Addr() }

// serve hands requests to the server.
func (p *peerServer) serve(s *store, e *embed.Etcd) {
	if p == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/", etcdhttp.NewPeerHandler(e.GetLogger(), e.Server))
	mux.HandleFunc("GET "+pathReplica, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.ownState(e)) // the client has gone
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
	p.mu.Lock()
	p.conns[conn] = who
	p.mu.Unlock()
	(*h).ServeHTTP(w, r)
}

// prune ends the connections of those that admit turns away by now.
func (p *peerServer) prune(admit func(role Role, name, fingerprint string) error) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, who := range p.conns {
		if admit(who.role, who.name, who.fingerprint) != nil {
			_ = c.Close()
			delete(p.conns, c)
		}
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
