package origins

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
)

// multi is an origin that speaks HTTP/2 with prior knowledge: a server of Go's.
type multi struct {
	ln   net.Listener
	mu   sync.Mutex
	open map[net.Conn]bool
	made int
	wg   sync.WaitGroup
}

// newMulti starts an origin that takes so many streams on a connection (0: as many as Go does), over TLS where it has a certificate.
func newMulti(t testing.TB, h http.HandlerFunc, streams int, cert *tls.Certificate) *multi {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &multi{ln: ln, open: map[net.Conn]bool{}}
	server := &http.Server{Handler: h, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams}}
	server.Protocols.SetUnencryptedHTTP2(cert == nil)
	server.Protocols.SetHTTP2(cert != nil)
	serve := func() error { return server.Serve(counted{ln, m}) }
	if cert != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
		serve = func() error { return server.ServeTLS(counted{ln, m}, "", "") }
	}
	m.wg.Go(func() { _ = serve() })
	t.Cleanup(func() {
		_ = server.Close()
		m.cut()
		m.wg.Wait()
	})
	return m
}

// counted knows which connections are open.
type counted struct {
	net.Listener
	m *multi
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.open[c] = true
	l.m.made++
	return &countedConn{c, l.m}, nil
}

type countedConn struct {
	net.Conn
	m *multi
}

func (c *countedConn) Close() error {
	c.m.mu.Lock()
	delete(c.m.open, c.Conn)
	c.m.mu.Unlock()
	return c.Conn.Close()
}

// cut closes all connections, as the kernel does when a process is killed.
func (m *multi) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.open {
		_ = c.Close()
	}
}

func (m *multi) count() (open, made int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.open), m.made
}

func (m *multi) upstream() *exchange.Upstream {
	return &exchange.Upstream{Addr: m.ln.Addr().String(), HTTP2: true}
}

func with(m ...*multi) *rig.Handler {
	h := &rig.Handler{}
	for _, o := range m {
		h.Upstreams = append(h.Upstreams, o.upstream())
	}
	return h
}

// tell answers with what was asked.
func tell(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/none":
		w.WriteHeader(http.StatusNoContent)
		return
	case "/big":
		_, _ = w.Write([]byte(strings.Repeat("0123456789", 100_000)))
		return
	case "/length":
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
		return
	}
	w.Header().Set("Date", "x")
	w.Header().Set("X-Te", r.Header.Get("Te"))
	if w.(http.Flusher).Flush(); r.URL.Path == "/cut" {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "%s %s %s %d %d %v", r.Method, r.RequestURI, r.Host, r.ContentLength, len(b), err)
}

// echoing answers each piece of the request as it comes.
func echoing(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	b := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(b)
		_, _ = w.Write(b[:n])
		w.(http.Flusher).Flush()
		if err != nil {
			return
		}
	}
}

// waiting is an origin whose answer never comes; it tells when a request begins and when nobody waits for it any more.
func waiting(begun, ended chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ok" {
			_, _ = io.WriteString(w, "hello")
			return
		}
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(rig.Patience):
		t.Fatalf("%s: not in time", what)
	}
}
