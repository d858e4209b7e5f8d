package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"portico/deployhook/agent/relay"
	"portico/internal/pause"
	"portico/internal/records"
	"portico/membership/catalog"
)

// The server names of the agent's listener.
const (
	sniObjects = "objects"   // GET /v1/objects/…, for every member
	sniAgent   = "agent"     // logs and health, for proxies
	sniSuffix  = ".instance" // INSTANCE.instance: that instance, for proxies

	// INSTANCE.MEMBER.member.portico means the same: it stands in the member's
	// certificate, for HAProxy, which compares the two.
	sniMember = ".member.portico"
)

// instanceOf returns the instance that a server name asks for.
func instanceOf(name string) (id string, ok bool) {
	if id, ok := strings.CutSuffix(name, sniSuffix); ok {
		return id, true
	}
	if strings.HasSuffix(name, sniMember) {
		id, _, _ := strings.Cut(name, ".")
		return id, true
	}
	return "", false
}

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

// webServer serves the mutual TLS listener: it relays bytes to instances that
// listen themselves and answers HTTP for the others.
type webServer struct {
	a     *Agent
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

// link is one authenticated connection.
type link struct {
	conn     *tls.Conn
	inst     net.Conn // to the instance; nil: the agent itself answers
	instance string   // empty: it goes to no instance
	name     string   // server name
	proxy    string   // who has it; empty: no proxy, or one without a name; guarded by the server's mu
	bytes    *moving  // below conn
	seen     int64    // what had moved at the last look; guarded by the server's mu
}

func newWebServer(a *Agent) *webServer {
	s := &webServer{
		a: a, feed: newFeed(), slots: make(chan struct{}, handshakes), deaf: make(chan struct{}),
		open:  make(map[*link]struct{}),
		dials: dials{dialer: a.dialer, traffic: a.traffic},
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: headTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headBytes,
		ErrorLog:          quiet(a.log),
	}
	s.wg.Go(func() { _ = s.http.Serve(s.feed) })
	return s
}

// accept takes connections until ctx ends or the listener is closed.
func (a *Agent) accept(ctx context.Context, l net.Listener) {
	defer close(a.web.deaf)
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	config := a.web.tlsConfig()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			if !a.traffic.Out(err) {
				a.log.Warn("connection not accepted", "error", err)
			}
			_ = pause.For(ctx, acceptRest)
			continue
		}
		if !a.traffic.KeepOpen(conn) && !a.awaitDescriptors(ctx) {
			_ = conn.Close()
			continue
		}
		select {
		case a.web.slots <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return
		}
		a.web.wg.Go(func() { a.web.handle(ctx, conn, config) })
	}
}

// awaitDescriptors waits until traffic may have two descriptors again: the second one is for the connection to an instance. Proxies wait
// meanwhile, this one's and those behind it, as they do while this machine is busy. It reports false where that takes too long for them.
func (a *Agent) awaitDescriptors(ctx context.Context) bool {
	for end := time.Now().Add(relayDial); time.Now().Before(end) && pause.For(ctx, acceptRest) == nil; {
		if a.traffic.Room(2) {
			return true
		}
	}
	return false
}

// tlsConfig refuses unknown server names, and instances that take no connection,
// before anything else happens: a proxy sees a failed handshake, so it knows that
// nothing was sent and goes elsewhere whatever the request is, a POST too.
func (s *webServer) tlsConfig() *tls.Config {
	config := s.a.o.ServerTLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	inner := config.GetConfigForClient
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if err := s.reach(hello); err != nil {
			return nil, err
		}
		if inner != nil {
			return inner(hello)
		}
		return nil, nil
	}
	return config
}

// reach connects to the instance that a server name asks for. With TLS 1.3 a
// client has sent its request before anybody could tell it that the instance is
// gone, so this comes first. Who asks is not known yet: a stranger who has heard
// an instance's id can make the agent open and close a connection, no more.
func (s *webServer) reach(hello *tls.ClientHelloInfo) error {
	id, ok := instanceOf(hello.ServerName)
	if !ok {
		if hello.ServerName == sniObjects || hello.ServerName == sniAgent {
			return nil
		}
		return fmt.Errorf("no instance %q here", hello.ServerName)
	}
	inst := s.a.instance(id)
	if inst == nil {
		return fmt.Errorf("no instance %q here", hello.ServerName)
	}
	addr := inst.addr()
	to, wanted := hello.Context().Value(dialed{}).(*net.Conn)
	if addr == "" || !wanted {
		return nil
	}
	conn, err := s.dials.dial(hello.Context(), id, addr, inst.allows())
	if err != nil {
		return fmt.Errorf("instance %q takes no connection: %w", id, err)
	}
	*to = conn
	return nil
}

// dialed is the key of a handshake's context under which reach leaves the
// connection to the instance.
type dialed struct{}

// handle serves a connection from its first byte to its last.
func (s *webServer) handle(ctx context.Context, raw net.Conn, config *tls.Config) {
	k := s.handshake(ctx, raw, config)
	<-s.slots // not before it is in open: whoever waits for what is under way looks at both
	if k == nil {
		return
	}
	if k.inst != nil {
		defer k.inst.Close()
	}
	s.dispatch(k, k.inst)
}

// handshake lets a member in, or closes the connection and returns nil.
func (s *webServer) handshake(ctx context.Context, raw net.Conn, config *tls.Config) *link {
	var inst net.Conn // nil: the agent itself answers
	bytes := &moving{Conn: raw}
	conn := tls.Server(&records.Ending{Conn: bytes}, config)
	hctx, cancel := context.WithTimeout(context.WithValue(ctx, dialed{}, &inst), handshakeTime)
	defer cancel()
	err := conn.HandshakeContext(hctx)
	if err != nil {
		s.a.log.Debug("connection refused", "from", raw.RemoteAddr().String(), "error", err)
	} else {
		k := &link{conn: conn, inst: inst, name: conn.ConnectionState().ServerName, bytes: bytes}
		k.instance, _ = instanceOf(k.name)
		if err = s.admit(k); err == nil {
			return k
		}
		s.a.log.Warn("member refused", "from", raw.RemoteAddr().String(), "error", err)
	}
	_ = conn.Close()
	if inst != nil {
		_ = inst.Close()
	}
	return nil
}

// admit remembers the connection and checks who is at the other end, in this order:
// a member that is revoked during the check is found by recheck.
func (s *webServer) admit(k *link) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.open[k] = struct{}{}
	s.mu.Unlock()
	proxy, err := s.allowed(k)
	if err != nil {
		s.mu.Lock()
		delete(s.open, k)
		s.mu.Unlock()
		return err
	}
	if proxy == "" {
		return nil
	}
	s.a.heardOf(proxy)
	s.mu.Lock()
	defer s.mu.Unlock()
	k.proxy = proxy
	return nil
}

// allowed reports an error unless the other end may have this connection, and which
// proxy it is, if it is one.
func (s *webServer) allowed(k *link) (proxy string, err error) {
	if s.a.o.Identify == nil {
		return "", nil
	}
	role, name, err := s.a.o.Identify(k.conn.ConnectionState())
	switch {
	case err != nil:
		return "", err
	case role == catalog.RoleProxy:
		return name, nil
	case k.name != sniObjects:
		return "", fmt.Errorf("member %s is no proxy and may fetch objects only", name)
	}
	return "", nil
}

func (s *webServer) drop(k *link) {
	s.mu.Lock()
	delete(s.open, k)
	s.mu.Unlock()
	_ = k.conn.Close()
}

// dispatch hands a connection to its relay or to the HTTP server.
func (s *webServer) dispatch(k *link, inst net.Conn) {
	switch {
	case k.instance != "" && s.a.instance(k.instance) == nil: // it ended during the handshake
		s.drop(k)
	case inst != nil:
		defer s.drop(k)
		relay.Join(k.conn, inst.(*net.TCPConn), relay.Linger, strings.HasSuffix(k.name, sniSuffix))
	default:
		s.feed.put(&served{Conn: k.conn, s: s, k: k})
	}
}

// cut closes all connections to an instance.
func (s *webServer) cut(instance string) {
	s.each(func(k *link) bool { return k.instance == instance })
}

// recheck closes the connections of members that are not accepted any more.
func (s *webServer) recheck() {
	if s.a.o.Identify != nil {
		s.each(func(k *link) bool { _, err := s.allowed(k); return err != nil })
	}
}

// each closes the connections that pick picks. Closing the raw connection ends
// reads and writes at once; a TLS close could wait for a write that hangs. The
// instance's side is closed as well: a relay whose proxy has ended its half reads on
// there, for minutes.
func (s *webServer) each(pick func(*link) bool) {
	s.mu.Lock()
	list := make([]*link, 0, len(s.open))
	for k := range s.open {
		list = append(list, k)
	}
	s.mu.Unlock()
	for _, k := range list {
		if pick(k) {
			_ = k.conn.NetConn().Close()
			if k.inst != nil {
				_ = k.inst.Close()
			}
		}
	}
}

// close ends all connections and waits for whoever served them.
func (s *webServer) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	_ = s.http.Close()
	_ = s.feed.Close()
	s.each(func(*link) bool { return true })
	s.wg.Wait()
}

// serveHTTP answers what is not relayed.
func (s *webServer) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil {
		http.Error(w, "mutual TLS is required", http.StatusForbidden)
		return
	}
	switch name := r.TLS.ServerName; name {
	case sniObjects:
		s.serveObjects(w, r)
	case sniAgent:
		s.a.serveAgent(w, r)
	default:
		id, _ := instanceOf(name)
		inst := s.a.instance(id)
		if inst == nil || inst.handler() == nil {
			panic(http.ErrAbortHandler) // gone: close, so that the proxy sees no answer
		}
		inst.handler().ServeHTTP(w, r)
	}
}

// serveObjects gives a proxy any object, and another application server those of the
// releases that it is to run as well.
func (s *webServer) serveObjects(w http.ResponseWriter, r *http.Request) {
	if s.a.o.Identify == nil {
		s.a.store.Serve(w, r, nil)
		return
	}
	role, name, err := s.a.o.Identify(*r.TLS)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusForbidden)
	case role == catalog.RoleProxy:
		s.a.store.Serve(w, r, nil)
	default:
		s.a.store.Serve(w, r, func(files string) bool { return s.a.sharedWith(name, files) })
	}
}

// sharedWith reports whether another application server may have a release's files, as
// far as this one knows: it runs the release as well, and a proxy said that both do.
func (a *Agent) sharedWith(name, files string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.wanted.Releases, func(r catalog.WantedRelease) bool {
		return catalog.FilesOf(r.Release) == files && (r.Servers == nil || slices.Contains(r.Servers, name))
	})
}

// served is a connection in the hands of the HTTP server, which finds out that
// it is TLS by its ConnectionState.
type served struct {
	*tls.Conn
	s    *webServer
	k    *link
	once sync.Once
}

// Close implements net.Conn.
func (c *served) Close() error {
	c.once.Do(func() { c.s.drop(c.k) })
	return nil
}

// feed is a listener whose connections come from elsewhere.
type feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newFeed() *feed { return &feed{conns: make(chan net.Conn), done: make(chan struct{})} }

func (f *feed) put(c net.Conn) {
	select {
	case f.conns <- c:
	case <-f.done:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (f *feed) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// Addr implements net.Listener.
func (f *feed) Addr() net.Addr { return &net.TCPAddr{} }

// quiet makes the standard library's server log at debug level: what it has to
// say concerns single connections.
func quiet(l *slog.Logger) *log.Logger {
	return log.New(debugWriter{l}, "", 0)
}

type debugWriter struct{ l *slog.Logger }

// Write implements io.Writer.
func (w debugWriter) Write(p []byte) (int, error) {
	w.l.Debug(string(bytes.TrimSpace(p)))
	return len(p), nil
}
