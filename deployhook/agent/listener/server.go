package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"portico/deployhook/agent/portowner"
	"portico/deployhook/objects"
	"portico/internal/descriptors"
	"portico/internal/pause"
	"portico/membership/catalog"
)

const (
	handshakeTime = 10 * time.Second
	// handshakes is how many may be under way at once: nobody is known before
	// the end of one, so strangers share this little room.
	handshakes = 1024
	headTime   = 10 * time.Second
	idleTime   = 5 * time.Minute // longer than proxies keep idle connections, so that they close first
	headBytes  = 64 << 10
	acceptRest = 50 * time.Millisecond // after a failed accept, such as one without descriptors
)

// Instance is where the bytes for one go.
type Instance interface {
	Addr() string                // host:port; empty where Handler answers
	Allows() func(uid int) error // who may answer there, nil: anybody
	Handler() http.Handler       // nil: it listens itself
}

// Options say whom a Server lets in, and what it serves.
type Options struct {
	TLS      *tls.Config                                                           // must demand and verify client certificates
	Identify func(tls.ConnectionState) (role catalog.Role, name string, err error) // nil: everybody is a proxy without a name
	Logger   *slog.Logger
	Traffic  *descriptors.Traffic

	Instance func(id string) Instance                          // nil: there is none of that id
	Dialer   func(allow func(uid int) error) *portowner.Dialer // to instances
	Heard    func(proxy string)                                // told of each sign of life

	Agent  http.Handler                    // answers proxies about this member
	Store  *objects.Store                  // of which every member gets objects
	Shared func(member, files string) bool // whether an application server may have a release's files
}

// Server serves the mutual TLS listener: it relays bytes to instances that
// listen themselves and answers HTTP for the others.
type Server struct {
	o     Options
	http  *http.Server
	feed  *feed
	slots chan struct{} // handshakes under way
	deaf  chan struct{} // closed when accept has ended: no connection comes any more
	dials dials

	mu     sync.Mutex
	open   map[*link]struct{}
	closed bool
	wg     sync.WaitGroup
}

// New serves nothing before Accept.
func New(o Options) *Server {
	s := &Server{
		o: o, feed: newFeed(), slots: make(chan struct{}, handshakes), deaf: make(chan struct{}),
		open:  make(map[*link]struct{}),
		dials: dials{dialer: o.Dialer, traffic: o.Traffic},
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: headTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headBytes,
		ErrorLog:          quiet(o.Logger),
	}
	s.wg.Go(func() { _ = s.http.Serve(s.feed) })
	return s
}

// Accept takes connections until ctx ends or the listener is closed.
func (s *Server) Accept(ctx context.Context, l net.Listener) {
	defer close(s.deaf)
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	config := s.tlsConfig()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			if !s.o.Traffic.Out(err) {
				s.o.Logger.Warn("connection not accepted", "error", err)
			}
			_ = pause.For(ctx, acceptRest)
			continue
		}
		if !s.o.Traffic.KeepOpen(conn) && !s.awaitDescriptors(ctx) {
			_ = conn.Close()
			continue
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return
		}
		s.wg.Go(func() { s.handle(ctx, conn, config) })
	}
}

// awaitDescriptors waits until traffic may have two descriptors again: the second one is for the connection to an instance. Proxies wait
// meanwhile, this one's and those behind it, as they do while this machine is busy. It reports false where that takes too long for them.
func (s *Server) awaitDescriptors(ctx context.Context) bool {
	for end := time.Now().Add(dialTime); time.Now().Before(end) && pause.For(ctx, acceptRest) == nil; {
		if s.o.Traffic.Room(2) {
			return true
		}
	}
	return false
}

// Close ends all connections and waits for whoever served them.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	_ = s.http.Close()
	_ = s.feed.Close()
	s.each(func(*link) bool { return true })
	s.wg.Wait()
}
