package origins

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

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

func newMulti(t testing.TB, h http.HandlerFunc, conf *http2.Server, cert *tls.Certificate) *multi {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if conf == nil {
		conf = &http2.Server{}
	}
	m := &multi{ln: ln, open: map[net.Conn]bool{}}
	base := &http.Server{}
	if err := http2.ConfigureServer(base, conf); err != nil {
		t.Fatal(err)
	}
	m.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.open[c] = true
			m.made++
			m.mu.Unlock()
			m.wg.Go(func() {
				defer func() {
					_ = c.Close()
					m.mu.Lock()
					delete(m.open, c)
					m.mu.Unlock()
				}()
				over := c
				if cert != nil {
					server := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}})
					if server.HandshakeContext(context.Background()) != nil {
						return
					}
					over = server
				}
				conf.ServeConn(over, &http2.ServeConnOpts{Handler: h, BaseConfig: base})
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		m.cut()
		m.wg.Wait()
	})
	return m
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
