package proxy_test

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
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"portico/conf"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/proxy"
)

// TestListenErrors: the address and the remedy stand in the message.
func TestListenErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := options()
	o.Conf.HTTP = l.Addr().String()
	s, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Shutdown(context.Background()) }()
	err = s.Listen()
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "--http (proxy.http)") {
		t.Errorf("got %v", err)
	}
	if s.Ready() {
		t.Error("ready without a listener")
	}
}

// TestQueue: beyond an instance's limit requests wait, in turn, for as long as the
// site allows, and another site does not feel it (R10).
func TestQueue(t *testing.T) {
	var now, most atomic.Int64
	release := make(chan struct{})
	finish := sync.OnceFunc(func() { close(release) })
	defer finish()
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == "portico-check" {
			return
		}
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		now.Add(-1)
	})
	fast, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {})
	c := site(addr)
	c.Limits.Connections, c.Limits.Queue = 2, units.Duration(300*time.Millisecond)
	patient := site(addr)
	patient.Name, patient.Hosts = "patient", []string{"patient.test"}
	patient.Limits.Connections, patient.Limits.Queue = 1, units.Duration(time.Hour)
	other := site(fast)
	other.Name, other.Hosts = "other", []string{"other.test"}
	f := start(t, options(), c, patient, other)
	cl := f.client()
	var wg sync.WaitGroup
	ask := func(n int, host string) <-chan int {
		codes := make(chan int, n)
		for range n {
			wg.Go(func() {
				resp, err := cl.Get("http://" + host + "/")
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				codes <- resp.StatusCode
			})
		}
		return codes
	}
	waited := ask(3, "patient.test")
	f.eventually("two requests wait", func() bool {
		p := f.Balancer().Pool("patient").Snapshot(0)
		return p.Queued+p.Upstreams[0].Queued == 2
	})
	if resp, _ := get(t, f.client(), "http://other.test/"); resp.StatusCode != 200 {
		t.Errorf("another site: %d", resp.StatusCode)
	}
	codes := ask(5, "shop.test")
	for range 3 {
		if code := <-codes; code != 503 {
			t.Errorf("a request beyond the queue's time got %d, want 503", code)
		}
	}
	finish()
	wg.Wait()
	for _, code := range []int{<-codes, <-codes, <-waited, <-waited, <-waited} {
		if code != 200 {
			t.Errorf("a request inside, or one whose turn came, got %d", code)
		}
	}
	if most.Load() != 3 {
		t.Errorf("%d requests at the instances at a time, want 2 and 1", most.Load())
	}
}

// TestQueueOfWhatLeaves: a visitor who waits for a place at the instance of the session is not
// sent there any more once it has left, and goes on elsewhere.
func TestQueueOfWhatLeaves(t *testing.T) {
	release := make(chan struct{})
	finish := sync.OnceFunc(func() { close(release) })
	defer finish()
	var came atomic.Int64
	one, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			came.Add(1)
			<-release
		}
		_, _ = io.WriteString(w, "one")
	})
	two, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "two") })
	c := site(one)
	c.Limits.Connections, c.Limits.Queue = 1, units.Duration(time.Hour)
	f := start(t, options(), c)
	v := visitor(t, f)
	if _, body := get(t, v, "http://shop.test/"); body != "one" {
		t.Fatal(body)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer finish()
	wg.Go(func() {
		if resp, err := f.client().Get("http://shop.test/slow"); err == nil {
			resp.Body.Close()
		}
	})
	f.eventually("the only place is taken", func() bool { return came.Load() == 1 })
	body := make(chan string, 1)
	wg.Go(func() {
		resp, err := v.Get("http://shop.test/")
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		body <- string(b)
	})
	f.eventually("the visitor waits", func() bool {
		p := f.Balancer().Pool("shop").Snapshot(0)
		return p.Queued+p.Upstreams[0].Queued == 1
	})
	next := site(two)
	next.Limits = c.Limits
	next.Upstreams[0].Name = "next"
	f.SetStatic([]conf.Site{next})
	if got := <-body; got != "two" {
		t.Errorf("the visitor got %q", got)
	}
}

// TestRate: beyond a client's allowance 429 says when to come back.
func TestRate(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {})
	c := site(addr)
	c.Limits.Rate = "5/m"
	f := start(t, options(), c)
	got := map[int]int{}
	for range 8 {
		resp, _ := get(t, f.client(), "http://shop.test/")
		got[resp.StatusCode]++
		if resp.StatusCode == 429 && resp.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if got[200] != 5 || got[429] != 3 {
		t.Errorf("got %v, want 5 times 200 and 3 times 429", got)
	}
}

// TestConnectionLimits: above a limit a client is told so, and a place that is
// given back can be had again.
func TestConnectionLimits(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {})
	for name, limit := range map[string]conf.ProxyLimits{"all": {Connections: 3}, "per address": {PerAddress: 3}} {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.Conf.Limits = limit
			f := start(t, o, site(addr))
			var open []net.Conn
			for range 3 {
				c := dial(t, f.http)
				fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
				if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
					t.Fatalf("within the limit: %v %v", resp, err)
				}
				open = append(open, c)
			}
			if answer := f.raw("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"); answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 503 ") {
				t.Errorf("above the limit: %q", answer)
			}
			for _, c := range open {
				_ = c.Close()
			}
			f.eventually("places given back", func() bool { return f.Snapshot().Frontends[0].Conns == 0 })
			if resp, _ := get(t, f.client(), "http://shop.test/"); resp.StatusCode != 200 {
				t.Errorf("after closing: %d", resp.StatusCode)
			}
		})
	}
}

// TestSlowBody: a body that stops coming is given up; one that keeps coming may
// take longer than any single timeout.
func TestSlowBody(t *testing.T) {
	atSomePace(t, time.Second, func(p *pace) error { return slowBodies(t, p) })
}

func slowBodies(t *testing.T, p *pace) error {
	w := &witness{}
	addr, _ := origin(t, w.ServeHTTP)
	o := options()
	o.Conf.Timeouts.Body = units.Duration(p.limit)
	f := start(t, o, site(addr))
	stopped := make([]net.Conn, 0, 2)
	for _, size := range []int{10, 100 << 10} { // held, streamed
		c := dial(t, f.http)
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: %d\r\n\r\nabc", size)
		stopped = append(stopped, c)
	}
	c := dial(t, f.http)
	fmt.Fprint(c, "POST /slow HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nContent-Length: 6\r\n\r\n")
	for range 6 {
		began := time.Now()
		time.Sleep(p.limit / 4) // the client is slow, longer than the timeout in all
		fmt.Fprint(c, "x")
		p.took(time.Since(began))
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("body that keeps coming: %v %v", resp, err)
	}
	for _, c := range stopped {
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 408 {
			t.Errorf("body that stops: %v %v, want 408", resp, err)
		}
	}
	if seen := w.take(); len(seen) != 1 || !strings.HasPrefix(seen[0], "POST /slow") {
		t.Errorf("the instance took %q for whole", seen)
	}
	return nil
}

// TestSilentConnections: nothing that says nothing keeps its place: no handshake,
// no request, no second request (N5).
func TestSilentConnections(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {})
	atSomePace(t, time.Second, func(p *pace) error { return silentConnections(t, p, addr) })
}

func silentConnections(t *testing.T, p *pace, addr string) error {
	o, pool := tlsOptions(t, "shop.test")
	o.Conf.Timeouts.Header, o.Conf.Timeouts.Idle = units.Duration(p.limit), units.Duration(p.limit)
	f := start(t, o, site(addr))
	ended := func(what string, c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(waitTime))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%s: %v, want the end", what, err)
		}
	}
	shakeless, mute, once := dial(t, f.tls), dial(t, f.http), dial(t, f.http)
	fmt.Fprint(once, "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
	began := time.Now()
	h2, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"h2"}})
	if p.took(time.Since(began)); err != nil {
		return err
	}
	defer h2.Close()
	_, _ = io.WriteString(h2, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	ended("no handshake", shakeless)
	ended("no request", mute)
	ended("no second request", once)
	ended("idle HTTP/2", h2)
	return nil
}

// TestBytesIn: what came in is counted whole, the heads of requests too.
func TestBytesIn(t *testing.T) {
	f := start(t, options(), site(rawOrigin(t, func(c net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
		}
	})))
	const (
		plain = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
		body  = "POST /x HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
	)
	for _, s := range []string{plain, body} {
		if answer := f.raw(s); !strings.HasSuffix(answer, "good") {
			t.Fatalf("got %q", answer)
		}
	}
	want := uint64(len(plain) + len(body))
	f.eventually("all bytes are counted", func() bool {
		snap := f.Snapshot()
		return snap.Frontends[0].BytesIn == want && snap.Pools[0].BytesIn == want
	})
}

// TestProxyProtocol: a named source tells the client's address; without the header
// it gets nothing, and from others the header is a bad request.
func TestProxyProtocol(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Forwarded-For")) })
	o := options()
	o.Conf.ProxyProtocol = []string{"127.0.0.1"}
	f := start(t, o, site(addr))
	const request = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
	if answer := f.raw("PROXY TCP4 192.0.2.9 192.0.2.1 4444 80\r\n" + request); !strings.HasSuffix(answer, "192.0.2.9") {
		t.Errorf("version 1: %q", answer)
	}
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x0a\xc0\x00\x02\x01\x11\x5c\x00\x50"
	if answer := f.raw(v2 + request); !strings.HasSuffix(answer, "192.0.2.10") {
		t.Errorf("version 2: %q", answer)
	}
	if answer := f.raw(request); answer != "" {
		t.Errorf("without the header: %q", answer)
	}
	f = start(t, options(), site(addr))
	if answer := f.raw("PROXY TCP4 192.0.2.9 192.0.2.1 4444 80\r\n" + request); !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("from an unnamed source: %q", answer)
	}
}

// TestProbes: lines R6 and R7: no redirect is followed, an endless answer is not
// read, a hanging one ends with the timeout, the text has to be there, and the
// Host is the site's own.
func TestProbes(t *testing.T) {
	elsewhere, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { t.Error("a redirect was followed") })
	var hosts sync.Map
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		hosts.Store(r.Host, true)
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "http://"+elsewhere+"/", http.StatusFound)
		case "/hang":
			<-r.Context().Done()
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("x", 1<<10)); err != nil {
					return
				}
			}
		case "/text":
			fmt.Fprint(w, "all is well")
		case "/status":
			w.WriteHeader(500)
		}
	})
	var list []conf.Site
	want := map[string]string{}
	for name, tt := range map[string]struct {
		h    sites.Health
		code string
	}{
		"redirect":   {sites.Health{Path: "/redirect", Status: "200"}, "L7STS"},
		"redirectok": {sites.Health{Path: "/redirect"}, "L7OK"},
		"hang":       {sites.Health{Path: "/hang", Timeout: units.Duration(2 * time.Second)}, "L7TOUT"},
		"endless":    {sites.Health{Path: "/endless", Body: "needle", Timeout: units.Duration(20 * time.Second)}, "L7RSP"},
		"text":       {sites.Health{Path: "/text", Body: "is well"}, "L7OK"},
		"notext":     {sites.Health{Path: "/text", Body: "unwell"}, "L7RSP"},
		"status":     {sites.Health{Path: "/status"}, "L7STS"},
		"tcp":        {sites.Health{Type: "tcp"}, "L4OK"},
	} {
		c := site(addr)
		c.Name, c.Hosts = name, []string{name + ".test"}
		if tt.h.Interval = units.Duration(time.Second); tt.h.Timeout == 0 {
			tt.h.Timeout = units.Duration(time.Minute)
		}
		c.Health = tt.h
		list = append(list, c)
		want[name] = tt.code
	}
	f := start(t, options(), list...)
	for _, p := range f.Snapshot().Pools {
		u := p.Upstreams[0]
		if u.CheckCode != want[p.Name] {
			t.Errorf("%s: %s %s, want %s", p.Name, u.CheckCode, u.CheckDetail, want[p.Name])
		}
		if u.InRotation != strings.HasSuffix(u.CheckCode, "OK") {
			t.Errorf("%s: in rotation %v with %s", p.Name, u.InRotation, u.CheckCode)
		}
	}
	if _, ok := hosts.Load("text.test"); !ok {
		t.Error("the check does not bear the site's host")
	}
}

// TestChecksStop: nothing is checked any more once its site is gone.
func TestChecksStop(t *testing.T) {
	var checks atomic.Int64
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { checks.Add(1) })
	f := start(t, options(), site(addr))
	f.SetStatic(nil)
	n := checks.Load()
	time.Sleep(500 * time.Millisecond) // that nothing comes can only be waited for: five checks fit in here, and one may have been on its way
	if more := checks.Load() - n; more > 1 {
		t.Errorf("%d checks after the end", more)
	}
	if resp, _ := get(t, f.client(), "http://shop.test/"); resp.StatusCode != 404 {
		t.Errorf("a removed site answers %d", resp.StatusCode)
	}
}

// TestSeriesDieWithTheirSite: metrics appear and vanish with the site.
func TestSeriesDieWithTheirSite(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {})
	f := start(t, options(), site(addr))
	_, _ = get(t, f.client(), "http://shop.test/")
	var b strings.Builder
	f.eventually("the request counted", func() bool {
		b.Reset()
		f.WriteMetrics(&b)
		return strings.Contains(b.String(), `portico_site_requests_total{site="shop",code="2xx"} 1`)
	})
	if !strings.Contains(b.String(), `portico_site_request_duration_seconds_bucket{site="shop",le="`) {
		t.Errorf("no histogram in %s", b.String())
	}
	f.SetStatic(nil)
	b.Reset()
	f.WriteMetrics(&b)
	if strings.Contains(b.String(), "portico_site_") {
		t.Errorf("left: %s", b.String())
	}
}
