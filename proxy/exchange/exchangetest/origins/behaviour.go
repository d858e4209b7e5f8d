package origins

import (
	"bufio"
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

// behaviours are what a driver does with upstreams that speak HTTP/2, whose connections many requests share.
var behaviours = map[string]func(*testing.T, rig.Maker){
	"answers":          answers,
	"answers over tls": answersTLS,
	"streams":          streams,
	"trailers":         trailers,
	"empty":            empty,
	"interim":          interim,
	"continue":         continues,
	"both ways":        bothWays,
	"one connection":   oneConnection,
	"limit":            limit,
	"mixed":            mixed,
	"client leaves":    clientLeaves,
	"client resets":    clientResets,
	"stalled":          stalled,
	"origin resets":    originResets,
	"gives up":         givesUp,
	"goes":             goes,
	"dies":             dies,
	"whole at the end": whole,
	"no http2":         noHTTP2,
	"mute":             mute,
	"all down":         allDown,
	"tunnel":           tunnel,
	"no tunnel":        noTunnel,
	"quiet":            quiet,
	"silent origin":    silentOrigin,
	"revoked":          revoked,
	"left":             left,
	"retired":          retired,
	"bound":            bound,
	"stop":             stop,
	"names":            names,
}

// Run runs them.
func Run(t *testing.T, mk rig.Maker) {
	for name, f := range behaviours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, mk)
		})
	}
}

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

func answers(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, nil, nil)
	addr, _ := rig.Start(t, mk, rig.Options(with(m)))
	askHTTP1(t, addr)
	if _, made := m.count(); made > 3 {
		t.Errorf("%d connections were made", made)
	}
}

func answersTLS(t *testing.T, mk rig.Maker) {
	cert, pool := rig.Certificate(t)
	m := newMulti(t, tell, nil, &cert)
	h := with(m)
	h.Upstreams[0].TLS = &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	askHTTP1(t, addr)
}

// askHTTP1 asks as a client of HTTP/1.1 and of HTTP/1.0.
func askHTTP1(t *testing.T, addr string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	big := strings.Repeat("u", 3<<20)
	for _, tt := range []struct {
		method, path string
		body         io.Reader
		want         string
	}{
		{"GET", "/a?b=c", nil, "GET /a?b=c a 0 0 <nil>"},
		{"POST", "/", strings.NewReader("hello"), "POST / a 5 5 <nil>"},
		{"POST", "/", io.MultiReader(strings.NewReader("hello")), "POST / a -1 5 <nil>"},
		{"PUT", "/big-up", strings.NewReader(big), fmt.Sprintf("PUT /big-up a %d %d <nil>", len(big), len(big))},
		{"PUT", "/big-up", io.MultiReader(strings.NewReader(big)), fmt.Sprintf("PUT /big-up a -1 %d <nil>", len(big))},
		{"GET", "/big", nil, strings.Repeat("0123456789", 100_000)},
		{"GET", "/none", nil, ""},
		{"GET", "/length", nil, "hello"},
		{"HEAD", "/length", nil, ""},
	} {
		r, _ := http.NewRequest(tt.method, "http://"+addr+tt.path, tt.body)
		r.Host = "a"
		res, err := c.Do(r)
		if err != nil {
			t.Errorf("%s %s: %v", tt.method, tt.path, err)
			continue
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(b) != tt.want || err != nil {
			t.Errorf("%s %s: %.100q, %v", tt.method, tt.path, b, err)
		}
	}
	if got := rig.Exchange(t, addr, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"); !strings.HasSuffix(got, "GET / a 0 0 <nil>") || strings.Contains(got, "chunked") {
		t.Errorf("HTTP/1.0: %q", got)
	}
	if got := rig.Exchange(t, addr, "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n"); strings.HasSuffix(got, "0\r\n\r\n") {
		t.Errorf("a cut answer looks whole: %q", got)
	}
}

func streams(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, nil, nil)
	c, _ := rig.StartH2(t, mk, rig.Options(with(m)), rig.H2Settings{})
	if got := c.Open(true, "GET /length").Over(); !strings.Contains(got.Head, "content-length: 5\n") || got.Body != "hello" || !got.Ended {
		t.Errorf("%+v", got)
	}
	if got := c.Open(true, "HEAD /length").Over(); !strings.Contains(got.Head, "content-length: 5\n") || got.Body != "" || !got.Ended {
		t.Errorf("HEAD: %+v", got)
	}
	if got := c.Open(true, "GET /cut").Over(); got.Status() != "502" && (got.Ended || got.Reset == "") {
		t.Errorf("cut: %+v", got)
	}
	s := c.Open(false, "POST /")
	s.Send([]byte("hel"), false)
	s.Send([]byte("lo"), true)
	if got := s.Over(); got.Body != "POST / a -1 5 <nil>" {
		t.Errorf("%+v", got)
	}
}

func trailers(t *testing.T, mk rig.Maker) {
	m := newMulti(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status, X-Seen")
		w.(http.Flusher).Flush() // or it says a length, behind which HTTP/1 has no trailers
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("X-Seen", r.Trailer.Get("X-Sum"))
	}, nil, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := c.Open(false, "POST /", "te: trailers", "trailer: x-sum")
	s.Send([]byte("hello"), false)
	s.Trailers("x-sum: 7")
	if got := s.Over(); got.Body != "hello" || got.Trailers != "grpc-status: 0\nx-seen: 7\n" || !got.Ended {
		t.Errorf("%+v", got)
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	got := rig.Exchange(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, TE\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 8\r\n\r\n")
	if !strings.Contains(got, "abc") || !strings.HasSuffix(strings.ToLower(got), "0\r\ngrpc-status: 0\r\nx-seen: 8\r\n\r\n") {
		t.Errorf("HTTP/1.1: %q", got)
	}
}

// empty: an answer that ends with its head does so for the client, which a remote procedure call that fails at once must.
func empty(t *testing.T, mk rig.Maker) {
	m := newMulti(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		w.Header()["Content-Length"] = nil
		w.Header()["Content-Type"] = []string{"application/grpc"}
		w.Header().Set("Grpc-Status", "5")
	}, nil, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := c.Open(false, "POST /")
	s.Send([]byte("hello"), true)
	got := s.Until("the head", func(a *rig.H2Answer) bool { return a.Head != "" })
	if got.Ended = s.Over().Ended; !strings.Contains(got.Head, "grpc-status: 5\n") || !got.Ended || got.Body != "" || got.Trailers != "" {
		t.Errorf("%+v", got)
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.Contains(strings.ToLower(got), "content-length: 0\r\n") {
		t.Errorf("HTTP/1.1: %q", got)
	}
}

func interim(t *testing.T, mk rig.Maker) {
	m := newMulti(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hello")
	}, nil, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	if got := c.Open(true, "GET /").Over(); len(got.Interim) != 1 || got.Interim[0] != ":status: 103\nlink: </a>; rel=preload\n" || got.Body != "hello" {
		t.Errorf("%+v", got)
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 103 ") || !strings.Contains(got, "hello") {
		t.Errorf("HTTP/1.1: %q", got)
	}
}

// continues: the origin says when the body is to come.
func continues(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, nil, nil)
	addr, _ := rig.Start(t, mk, rig.Options(with(m)))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	br := bufio.NewReader(c)
	if head := rig.ReadHead(br); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("%q", head)
	}
	_, _ = io.WriteString(c, "hello")
	if b, _ := io.ReadAll(br); !strings.Contains(string(b), "POST / a 5 5") {
		t.Errorf("%q", b)
	}
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

func bothWays(t *testing.T, mk rig.Maker) {
	m := newMulti(t, echoing, nil, nil)
	c, _ := rig.StartH2(t, mk, rig.Options(with(m)), rig.H2Settings{})
	s := c.Open(false, "POST /")
	want := ""
	for i := range 20 {
		piece := fmt.Sprintf("piece %d\n", i)
		want += piece
		s.Send([]byte(piece), false)
		s.Until("it comes back", func(a *rig.H2Answer) bool { return a.Body == want })
	}
	s.Send(nil, true)
	if got := s.Over(); got.Body != want || !got.Ended {
		t.Errorf("%+v", got)
	}
	s = c.Open(false, "POST /")
	big := []byte(strings.Repeat("0123456789abcdef", 1<<17))
	go s.Send(big, true)
	if got := s.Over(); got.Body != string(big) {
		t.Errorf("%d bytes came back", len(got.Body))
	}
}

// oneConnection: requests that are under way at once share a connection.
func oneConnection(t *testing.T, mk rig.Maker) {
	var mu sync.Mutex
	turn := sync.NewCond(&mu)
	here := 0
	m := newMulti(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		here++
		turn.Broadcast()
		for here < 20 {
			turn.Wait()
		}
		_, _ = io.WriteString(w, "hello")
	}, nil, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	var all []*rig.H2Stream
	for range 20 {
		all = append(all, c.Open(true, "GET /"))
	}
	for _, s := range all {
		if got := s.Over(); got.Body != "hello" {
			t.Errorf("%+v", got)
		}
	}
	if _, made := m.count(); made != 1 {
		t.Errorf("%d connections were made", made)
	}
	if n := h.Upstreams[0].Conns(); n != 1 {
		t.Errorf("%d connections are counted", n)
	}
}

// limit: the origin takes so many streams on a connection; who finds no room gets another one, and none is refused.
func limit(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, &http2.Server{MaxConcurrentStreams: 3}, nil)
	h := with(m)
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	for range 5 {
		var all []*rig.H2Stream
		for i := range 40 {
			all = append(all, c.Open(true, fmt.Sprintf("GET /%d", i)))
		}
		for i, s := range all {
			if got := s.Over(); got.Body != fmt.Sprintf("GET /%d a 0 0 <nil>", i) {
				t.Errorf("%d: %+v", i, got)
			}
		}
	}
	for _, r := range h.Records() {
		if r.Attempts != 1 || r.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
}

// mixed: whatever many clients do at once, each gets what is its own.
func mixed(t *testing.T, mk rig.Maker) {
	m := newMulti(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Name", r.URL.Path)
		fmt.Fprintf(w, "%s:%s", r.URL.Path, b)
	}, &http2.Server{MaxConcurrentStreams: 10}, nil)
	h := with(m)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{}}
			defer c.CloseIdleConnections()
			for i := range 15 {
				path, body := fmt.Sprintf("/%d/%d", n, i), strings.Repeat(fmt.Sprint(n%10), (n*7919+i*104729)%150_000)
				res, err := c.Post("http://"+addr+path, "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(path, err)
					return
				}
				b, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if string(b) != path+":"+body || err != nil || res.Header.Get("X-Name") != path {
					t.Errorf("%s: %d bytes of %d, %v", path, len(b), len(path)+1+len(body), err)
				}
			}
		})
	}
	wg.Wait()
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

// clientLeaves: the origin hears that a client of HTTP/1 has gone, on its stream alone.
func clientLeaves(t *testing.T, mk rig.Maker) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	m := newMulti(t, waiting(begun, ended), nil, nil)
	addr, _ := rig.Start(t, mk, rig.Options(with(m)))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	within(t, "a request", begun)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	within(t, "its end", ended)
	if got := rig.Exchange(t, addr, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasSuffix(got, "hello") {
		t.Errorf("%q", got)
	}
	if _, made := m.count(); made != 1 {
		t.Errorf("%d connections were made", made)
	}
}

func clientResets(t *testing.T, mk rig.Maker) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	m := newMulti(t, waiting(begun, ended), nil, nil)
	c, _ := rig.StartH2(t, mk, rig.Options(with(m)), rig.H2Settings{})
	s := c.Open(false, "POST /")
	within(t, "a request", begun)
	s.Cancel()
	within(t, "its end", ended)
	if got := c.Open(true, "GET /ok").Over(); got.Body != "hello" {
		t.Errorf("%+v", got)
	}
	if _, made := m.count(); made != 1 {
		t.Errorf("%d connections were made", made)
	}
}

// stalled: clients that take nothing of their answers hold up no other.
func stalled(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, nil, nil)
	h := with(m)
	ln, pool := rig.H2Listener(t)
	o := rig.Options(h)
	o.Listeners = []exchange.Listener{ln}
	addr, _ := rig.Start(t, mk, o)
	slow := rig.DialH2(t, addr, pool, rig.H2Settings{Window: 1000, Keeps: true})
	var stalled []*rig.H2Stream
	for range 30 {
		s := slow.Open(true, "GET /big")
		s.Until("its head", func(a *rig.H2Answer) bool { return a.Head != "" })
		stalled = append(stalled, s)
	}
	quick := rig.DialH2(t, addr, pool, rig.H2Settings{})
	if got := quick.Open(true, "GET /big").Over(); len(got.Body) != 1_000_000 {
		t.Errorf("%d bytes", len(got.Body))
	}
	for _, s := range stalled {
		if s.Got().Ended {
			t.Error("a client that takes nothing has got all")
		}
	}
	if _, made := m.count(); made > 2 { // one for each loop
		t.Errorf("%d connections were made", made)
	}
}

func names(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, nil, nil)
	h := with(m)
	_, port, _ := net.SplitHostPort(h.Upstreams[0].Addr)
	h.Upstreams[0].Addr = "localhost:" + port
	addr, _ := rig.Start(t, mk, rig.Options(h))
	for range 3 {
		if got := rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.Contains(got, "GET / a 0 0") {
			t.Errorf("%q", got)
		}
	}
}

func bound(t *testing.T, mk rig.Maker) {
	var mu sync.Mutex
	seen := map[string]int{}
	m := newMulti(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.RemoteAddr]++
	}, nil, nil)
	h := with(m)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	for range 2 {
		rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Negotiate abc\r\n\r\n")
	}
	mu.Lock()
	defer mu.Unlock()
	once := 0
	for _, n := range seen {
		if n == 1 {
			once++
		}
	}
	if once != 2 || len(seen) != 3 {
		t.Errorf("requests by connection: %v", seen)
	}
}
