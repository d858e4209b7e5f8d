package origins

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
)

// behaviours are what a driver does with upstreams that speak HTTP/2, whose connections many requests share.
var behaviours = map[string]func(*testing.T, rig.Maker){
	"answers":          answers,
	"answers over tls": answersTLS,
	"streams":          streams,
	"trailers":         trailers,
	"counted trailers": countedTrailers,
	"empty":            empty,
	"interim":          interim,
	"continue":         continues,
	"both ways":        bothWays,
	"body limit":       bodyLimit,
	"one connection":   oneConnection,
	"limit":            limit,
	"puts off":         putsOff,
	"unwilling":        unwilling,
	"turns away":       turnsAway,
	"mixed":            mixed,
	"client leaves":    clientLeaves,
	"client resets":    clientResets,
	"stalled":          stalled,
	"origin resets":    originResets,
	"gives up":         givesUp,
	"gives up late":    givesUpLate,
	"garbled":          garbled,
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

func answers(t *testing.T, mk rig.Maker) {
	m := newMulti(t, tell, 0, nil)
	addr, _ := rig.Start(t, mk, rig.Options(with(m)))
	askHTTP1(t, addr)
	if _, made := m.count(); made > 3 {
		t.Errorf("%d connections were made", made)
	}
}

func answersTLS(t *testing.T, mk rig.Maker) {
	cert, pool := rig.Certificate(t)
	m := newMulti(t, tell, 0, &cert)
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
	m := newMulti(t, tell, 0, nil)
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
	}, 0, nil)
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
	}, 0, nil)
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
	}, 0, nil)
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
	m := newMulti(t, tell, 0, nil)
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

func bothWays(t *testing.T, mk rig.Maker) {
	m := newMulti(t, echoing, 0, nil)
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

// bodyLimit: what is larger than a body may be is refused; who talks with an origin that answers already may go on.
func bodyLimit(t *testing.T, mk rig.Maker) {
	m := newMulti(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/talk" {
			echoing(w, r)
			return
		}
		tell(w, r)
	}, 0, nil)
	h := with(m)
	h.Decide = func(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) { d.MaxBody = 10 }
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	large := c.Open(false, "POST /")
	large.Send([]byte("twelve bytes"), true)
	if got := large.Over(); got.Status() != "413" {
		t.Errorf("%+v", got)
	}
	s, want := c.Open(false, "POST /talk"), ""
	s.Until("its head", func(a *rig.H2Answer) bool { return a.Head != "" })
	for range 5 {
		want += "words "
		s.Send([]byte("words "), false)
		s.Until("they come back", func(a *rig.H2Answer) bool { return a.Body == want })
	}
	s.Send(nil, true)
	if got := s.Over(); got.Body != want || !got.Ended {
		t.Errorf("%+v", got)
	}
}
