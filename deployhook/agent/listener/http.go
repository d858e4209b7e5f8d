package listener

import (
	"bytes"
	"crypto/tls"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"portico/membership/catalog"
)

// serveHTTP answers what is not relayed.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil {
		http.Error(w, "mutual TLS is required", http.StatusForbidden)
		return
	}
	switch name := r.TLS.ServerName; name {
	case ObjectsName:
		s.serveObjects(w, r)
	case sniAgent:
		s.o.Agent.ServeHTTP(w, r)
	default:
		id, _ := instanceOf(name)
		inst := s.o.Instance(id)
		if inst == nil || inst.Handler() == nil {
			panic(http.ErrAbortHandler) // gone: close, so that the proxy sees no answer
		}
		inst.Handler().ServeHTTP(w, r)
	}
}

// serveObjects gives a proxy any object, and another application server those of the
// releases that it is to run as well.
func (s *Server) serveObjects(w http.ResponseWriter, r *http.Request) {
	if s.o.Identify == nil {
		s.o.Store.Serve(w, r, nil)
		return
	}
	role, name, err := s.o.Identify(*r.TLS)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusForbidden)
	case role == catalog.RoleProxy:
		s.o.Store.Serve(w, r, nil)
	default:
		s.o.Store.Serve(w, r, func(files string) bool { return s.o.Shared(name, files) })
	}
}

// served is a connection in the hands of the HTTP server, which finds out that
// it is TLS by its ConnectionState.
type served struct {
	*tls.Conn
	s    *Server
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
