package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
	"portico/tests/support/race"
)

// serveRaw answers each request of a connection with what reply returns; "" ends
// the connection.
func serveRaw(reply func(r *http.Request) string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if r.UserAgent() == "portico-check" {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			answer := reply(r)
			if answer == "" {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
			if strings.Contains(answer, "Connection: close") {
				return
			}
		}
	}
}

// TestAnswersThatAreNotWhole: a client must never take a cut or malformed answer
// for a whole one (R1), nor get what was not asked for (P21).
func TestAnswersThatAreNotWhole(t *testing.T) {
	answers := map[string]struct {
		answer string
		status int  // 0: the head was sound and already passed on
		whole  bool // of what the client gets
	}{
		"short length":      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nabc", 200, false},
		"no last chunk":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n", 200, false},
		"half chunk":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n9\r\nabc", 200, false},
		"bad chunk":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabcXX0\r\n\r\n", 200, false},
		"two lengths":       {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\nConnection: close\r\n\r\nabcd", 502, true},
		"length and chunks": {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 502, true},
		"not HTTP":          {"SSH-2.0-OpenSSH\r\n\r\nConnection: close", 502, true},
		"folded":            {"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nConnection: close\r\n\r\n", 502, true},
		"bare LF":           {"HTTP/1.1 200 OK\nConnection: close\n\n", 502, true},
		"huge head":         {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70<<10) + "\r\nConnection: close\r\n\r\n", 502, true},
		"101 unasked":       {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade, Connection: close\r\n\r\n", 502, true},
		"nothing":           {"", 502, true},
		"half a head":       {"HTTP/1.1 200 OK\r\nContent-Le Connection: close", 502, true},
		"endless interim":   {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 50) + "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 502, true},
		"until close":       {"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nabc", 200, true},
		"sound":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, true},
		"204 with length":   {"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 204, true},
	}
	addr := rawOrigin(t, serveRaw(func(r *http.Request) string { return answers[r.URL.Query().Get("case")].answer }))
	o := options()
	o.Conf.Retries = 0
	f := start(t, o, site(addr))
	for name, tt := range answers {
		t.Run(name, func(t *testing.T) {
			r, _ := http.NewRequest(http.MethodGet, "http://shop.test/", nil)
			r.URL.RawQuery = "case=" + strings.ReplaceAll(name, " ", "+")
			resp, err := f.client().Do(r)
			if err != nil {
				if tt.whole {
					t.Fatal(err)
				}
				return
			}
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
			if resp.StatusCode == http.StatusBadGateway && err == nil && !tt.whole {
				return // the fault was seen before the head was passed on
			}
			if resp.StatusCode != tt.status || (err == nil) != tt.whole {
				t.Errorf("status %d, body error %v; want status %d, whole %v", resp.StatusCode, err, tt.status, tt.whole)
			}
		})
	}
}

// TestBytesAfterAnswer: what an instance sends beyond its answer, or on an idle
// connection, reaches nobody (R2).
func TestBytesAfterAnswer(t *testing.T) {
	const extra = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for name, delay := range map[string]time.Duration{"at once": 0, "while idle": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			ends := make(chan error, 20)
			addr := rawOrigin(t, func(c net.Conn, br *bufio.Reader) {
				r, err := http.ReadRequest(br)
				if err != nil {
					return
				}
				const answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
				switch {
				case r.UserAgent() == "portico-check":
					_, _ = io.WriteString(c, answer)
					return
				case delay == 0:
					_, _ = io.WriteString(c, answer+extra)
				default:
					_, _ = io.WriteString(c, answer)
					time.Sleep(delay) // the fault under test: bytes that come late
					_, _ = io.WriteString(c, extra)
				}
				if !closesIdle() {
					ends <- io.EOF
				}
				if r, err = http.ReadRequest(br); err == nil {
					t.Errorf("%s %s came on a connection with bytes that nobody had asked for", r.Method, r.URL)
				}
				if closesIdle() {
					ends <- err
				}
			})
			f := start(t, options(), site(addr))
			c := f.client()
			for i := range 20 {
				if _, body := get(t, c, "http://shop.test/"); body != "good" {
					t.Fatalf("request %d got %q", i, body)
				}
				// Before the next request, because what comes during it is its answer for all that a proxy can know.
				if err := <-ends; errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("the connection is kept")
				}
			}
		})
	}
}

// TestNothingTwice: a request that may have had an effect is never sent again; one
// that may be repeated is, and elsewhere (R3).
func TestNothingTwice(t *testing.T) {
	var hits atomic.Int64
	broken := func(r *http.Request) string { hits.Add(1); return "" }
	bad1, bad2 := rawOrigin(t, serveRaw(broken)), rawOrigin(t, serveRaw(broken))
	f := start(t, options(), site(bad1, bad2))
	for _, tt := range []struct {
		method, body string
		want         int64
	}{
		{"POST", "", 1},
		{"POST", "small", 1},
		{"POST", strings.Repeat("x", 100<<10), 1},
		{"PATCH", "small", 1},
		{"GET", "", 2},
		{"PUT", "small", 2},
	} {
		f.eventually("both up", func() bool { return f.InRotation("shop/u0") && f.InRotation("shop/u1") })
		hits.Store(0)
		r, _ := http.NewRequest(tt.method, "http://shop.test/", strings.NewReader(tt.body))
		r.Header.Set("Idempotency-Key", "1") // what net/http's transport would take for a licence to repeat
		resp, err := f.client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 502 && resp.StatusCode != 503 {
			t.Errorf("%s: status %d", tt.method, resp.StatusCode)
		}
		if n := hits.Load(); n != tt.want {
			t.Errorf("%s with %d bytes was sent %d times, want %d", tt.method, len(tt.body), n, tt.want)
		}
	}
}

// TestStaleConnection: an idle connection that the instance has closed meanwhile
// costs nobody a request, not even a POST.
func TestStaleConnection(t *testing.T) {
	ends := make(chan struct{}, 20)
	addr := rawOrigin(t, func(c net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") // keep-alive, then gone
		_ = c.(*net.TCPConn).CloseWrite()
		if closesIdle() {
			_, _ = io.Copy(io.Discard, br)
		}
		if r.UserAgent() != "portico-check" {
			ends <- struct{}{}
		}
	})
	f := start(t, options(), site(addr))
	for range 20 {
		r, _ := http.NewRequest(http.MethodPost, "http://shop.test/", nil)
		resp, err := f.client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		<-ends // has to arrive before the next request, or it may be too late for that
	}
}

// TestAllDown: without an instance the answer is a quick 503 that says when to
// come back (R4), and service resumes by itself.
func TestAllDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	o := options() // the client has less patience than anything that the answer could wait for
	o.Conf.Timeouts.Connect, o.Conf.Timeouts.Response = units.Duration(time.Hour), units.Duration(time.Hour)
	c := site(addr)
	c.Limits.Queue = units.Duration(time.Hour)
	f := start(t, o, c)
	resp, body := get(t, f.client(), "http://shop.test/", "Accept", "application/json")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"code":"service_unavailable"`) {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	if strings.Contains(body, addr) || strings.Contains(body, "refused") {
		t.Errorf("the page tells about the inside: %q", body)
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Skip("the port was taken meanwhile")
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "back") })}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	f.eventually("back in rotation", func() bool { return f.InRotation("shop/u0") })
	if _, body := get(t, f.client(), "http://shop.test/"); body != "back" {
		t.Errorf("got %q", body)
	}
}

// TestSlowHeadDatesNothingAhead: what an instance did to a request is dated when it happened, however long the client took for its head:
// a check that passed since counts.
func TestSlowHeadDatesNothingAhead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {})}
	go func() { _ = srv.Serve(l) }()
	c := site(addr)
	c.Health.Interval = units.Duration(time.Hour)
	f := start(t, options(), c)
	f.eventually("in rotation", func() bool { return f.InRotation("shop/u0") })
	_ = srv.Close()
	conn, err := net.Dial("tcp", f.http)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop.test\r\n")
	time.Sleep(1500 * time.Millisecond) // the client's own pace is what is tried: the fault was as large as the pause
	_, _ = io.WriteString(conn, "Connection: close\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
	now := time.Now().UnixMilli()
	if u := f.Balancer().Pool("shop").Upstreams()[0]; u.Health().Since > now {
		t.Errorf("it is %v since %d ms from now", u.State(), u.Health().Since-now)
	}
}

// TestSlowInstance: an instance that does not answer costs its own visitors 504,
// and nobody else anything.
func TestSlowInstance(t *testing.T) {
	stop := make(chan struct{})
	slow, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-stop
		}
	})
	defer close(stop)
	atSomePace(t, time.Second, func(p *pace) error {
		o := options()
		o.Conf.Timeouts.Response = units.Duration(p.limit)
		f := start(t, o, site(slow))
		if resp, _ := get(t, f.client(), "http://shop.test/slow"); resp.StatusCode != 504 {
			t.Errorf("got %d, want 504", resp.StatusCode)
		}
		began := time.Now()
		resp, _ := get(t, f.client(), "http://shop.test/")
		if p.took(time.Since(began)); resp.StatusCode != 200 {
			return fmt.Errorf("got %d after a slow request", resp.StatusCode)
		}
		return nil
	})
}

// TestEventsAreNotHeld: an event reaches the client before the next one exists.
func TestEventsAreNotHeld(t *testing.T) {
	next := make(chan string)
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == "portico-check" {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for e := range next {
			fmt.Fprintf(w, "data: %s\n\n", e)
			w.(http.Flusher).Flush()
		}
	})
	f := start(t, options(), site(addr))
	next2 := next
	go func() { next2 <- "0" }()
	resp, err := f.client().Get("http://shop.test/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	for i := range 5 {
		line, err := br.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q %v", i, line, err)
		}
		_, _ = br.ReadString('\n')
		if i < 4 {
			next <- fmt.Sprint(i + 1)
		}
	}
	close(next)
}

// TestLargeBodies streams a gigabyte each way and watches the heap.
func TestLargeBodies(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() || race.Enabled {
		size = 256 << 20
	}
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, err)
			return
		}
		if r.UserAgent() != "portico-check" {
			_, _ = io.CopyN(w, zeros{}, size)
		}
	})
	c := site(addr)
	c.Limits = sites.FrontLimits{Body: units.Size(2 * size)}
	f := start(t, options(), c)
	runtime.GC()
	var base runtime.MemStats
	runtime.ReadMemStats(&base)
	var peak atomic.Uint64
	watch, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for watch.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			time.Sleep(20 * time.Millisecond)
		}
	})
	cl := f.client()
	cl.Timeout = 0
	resp, err := cl.Get("http://shop.test/")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if n != size || err != nil {
		t.Errorf("down: %d bytes, %v", n, err)
	}
	resp, err = cl.Post("http://shop.test/", "application/octet-stream", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(b) != fmt.Sprint(size, " ", error(nil)) && string(b) != fmt.Sprint(size, error(nil)) {
		t.Errorf("up: %q", b)
	}
	stop()
	wg.Wait()
	// The collector lets garbage of what earlier tests left grow to its double before it looks.
	if p := peak.Load() - min(peak.Load(), 2*base.HeapInuse); p > 64<<20 {
		t.Errorf("the heap grew by %d MiB", p>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestEarlyAnswer: an instance may answer before it has the whole body; the
// client gets that answer and the rest of the body is no request.
func TestEarlyAnswer(t *testing.T) {
	addr := rawOrigin(t, func(c net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.ContentLength > 0 {
			_, _ = io.CopyN(io.Discard, r.Body, 1000)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	cs := site(addr)
	cs.Health.Status = "200-499"
	f := start(t, options(), cs)
	c, err := net.Dial("tcp", f.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(waitTime))
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000000\r\n\r\n%s", strings.Repeat("x", 5000))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 403 {
		t.Fatalf("got %v, %v", resp, err)
	}
	if b, err := io.ReadAll(resp.Body); string(b) != "no" || err != nil {
		t.Errorf("body %q, %v", b, err)
	}
	if !resp.Close {
		t.Error("the connection is kept although the body did not come")
	}
}

// TestTrailersAndHints: trailers travel both ways, early hints forward.
func TestTrailersAndHints(t *testing.T) {
	got := make(chan string, 1)
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == "portico-check" {
			return
		}
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer.Get("X-Sum") + "|" + r.Trailer.Get("X-Forwarded-For")
		w.Header().Set("Trailer", "X-End")
		w.WriteHeader(200)
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-End", "42")
	})
	f := start(t, options(), site(addr))
	answer := f.raw("POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nTrailer: X-Sum, X-Forwarded-For\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
	if g := <-got; g != "7|" {
		t.Errorf("the instance got trailers %q, want only X-Sum", g)
	}
	for _, want := range []string{"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n", "HTTP/1.1 200 OK\r\n", "4\r\nbody\r\n0\r\nX-End: 42\r\n\r\n"} {
		if !strings.Contains(answer, want) {
			t.Errorf("%q is not in %q", want, answer)
		}
	}
}

// TestHeadersThatTravel: lines P18 and P19.
func TestHeadersThatTravel(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) { headersThatTravel(t, engine) })
	}
}

func headersThatTravel(t *testing.T, engine string) {
	var got http.Header
	addr := rawOrigin(t, serveRaw(func(r *http.Request) string {
		got = r.Header
		return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Stays: 1\r\nProxy-Authenticate: x\r\n\r\n"
	}))
	o := options()
	o.Conf.Engine = engine
	f := start(t, o, site(addr))
	answer := f.raw("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close, X-Hop, X-Forwarded-For, Cookie, Authorization\r\nX-Hop: 1\r\n" +
		"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Custom: x\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n" +
		"X_Forwarded_For: 6.6.6.6\r\nPortico-Session-Lost: cause=x\r\nPortico-Session-End: x\r\nportico-user: x\r\nAuthorization: Basic eA==\r\nCookie: a=b; portico-shop=x; c=d\r\nProxy-Authorization: x\r\nproxy: http://evil.test\r\nTE: gzip\r\nKeep-Alive: 5\r\nX-Stays: 1\r\n\r\n")
	for name, want := range map[string]string{
		"X-Hop": "", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.test",
		"X-Forwarded-Custom": "", "Forwarded": "", "X-Real-Ip": "", "X_forwarded_for": "", "Portico-Session-Lost": "", "Portico-Session-End": "", "Portico-User": "",
		"Authorization": "Basic eA==", "Cookie": "a=b; c=d", "Proxy-Authorization": "", "Proxy": "", "Te": "", "Keep-Alive": "", "X-Stays": "1",
	} {
		if v := strings.Join(got[name], ", "); v != want {
			t.Errorf("the instance got %s: %q, want %q", name, v, want)
		}
	}
	if strings.Contains(answer, "X-Hop") || strings.Contains(answer, "Keep-Alive") || strings.Contains(answer, "Proxy-Auth") || !strings.Contains(answer, "X-Stays: 1") {
		t.Errorf("the client got %q", answer)
	}
}

// TestTrustedProxies: what a proxy in front says counts only when it is named.
func TestTrustedProxies(t *testing.T) {
	var got http.Header
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
	o := options()
	o.Conf.TrustedProxies = []string{"127.0.0.0/8", "10.0.0.0/8"}
	f := start(t, o, site(addr))
	_, _ = get(t, f.client(), "http://shop.test/", "X-Forwarded-For", "6.6.6.6, 192.0.2.7, 10.1.2.3", "X-Forwarded-Proto", "https")
	if v := got.Get("X-Forwarded-For"); v != "6.6.6.6, 192.0.2.7, 10.1.2.3, 127.0.0.1" {
		t.Errorf("X-Forwarded-For: %q", v)
	}
	if v := got.Get("X-Forwarded-Proto"); v != "https" {
		t.Errorf("X-Forwarded-Proto: %q", v)
	}
	f.eventually("log line", func() bool { return strings.Contains(f.log.String(), `"client":"192.0.2.7"`) })
}

// TestStripMount: a stripped mount path is gone for the instance and back in
// redirects; nothing climbs above it.
func TestStripMount(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/login")
		w.WriteHeader(302)
		fmt.Fprintf(w, "%s prefix=%s", r.RequestURI, r.Header.Get("X-Forwarded-Prefix"))
	})
	c := site(addr)
	c.Path, c.Strip = "/app", true
	c.Health.Status = "302"
	f := start(t, options(), c)
	for path, want := range map[string]string{
		"/app":                  "/",
		"/app/":                 "/",
		"/app/x%2Fy?q=%zz":      "/x%2Fy?q=%zz",
		"/%61pp/x%20y":          "/x%20y",
		"/other/../app/z%3Fa":   "/z%3Fa",
		"/app/../app/%2e%2e/x":  "404",
		"/apple":                "404",
		"/app//evil.test/../x/": "/evil.test/x/",
	} {
		answer := f.raw("GET " + path + " HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
		if want == "404" {
			if !strings.HasPrefix(answer, "HTTP/1.1 404 ") {
				t.Errorf("%s: %.80q, want 404", path, answer)
			}
			continue
		}
		if path == "/app//evil.test/../x/" {
			want = "/x/"
		}
		if !strings.HasSuffix(answer, want+" prefix=/app") || !strings.Contains(answer, "Location: /app/login\r\n") {
			t.Errorf("%s: %q, want target %s", path, answer, want)
		}
	}
}

// TestPanicKillsOneRequest: line Z3, by way of a challenge handler that fails.
func TestPanicKillsOneRequest(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	o := options()
	o.Challenge = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	}
	f := start(t, o, site(addr))
	if resp, _ := get(t, f.client(), "http://shop.test/.well-known/acme-challenge/x"); resp.StatusCode != 500 {
		t.Errorf("got %d, want 500", resp.StatusCode)
	}
	if _, body := get(t, f.client(), "http://shop.test/"); body != "ok" {
		t.Errorf("the next request got %q", body)
	}
	if n := f.Snapshot().Panics; n != 1 {
		t.Errorf("%d panics counted", n)
	}
}
