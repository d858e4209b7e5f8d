package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/conf"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/proxy"
	"portico/proxy/accesslog"
	"portico/tests/support/seals"
	"portico/tests/support/written"
)

// TestMain tests the engine that the program runs by default where none is named.
func TestMain(m *testing.M) {
	if os.Getenv("PORTICO_TEST_ENGINE") == "" {
		if err := os.Setenv("PORTICO_TEST_ENGINE", "auto"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// front is a proxy under test, listening on loopback.
type front struct {
	*proxy.Server
	t    testing.TB
	http string // host:port
	tls  string
	log  *written.Buffer
}

// options returns what most tests need; change it before start. The limits are far away: a test that is not about
// one does not fail for it on a busy machine.
func options() proxy.Options {
	const patience = units.Duration(2 * time.Minute)
	return proxy.Options{
		Conf: conf.Proxy{
			HTTP: "127.0.0.1:0", Retries: 2, Recent: 64, Engine: os.Getenv("PORTICO_TEST_ENGINE"),
			Timeouts: conf.ProxyTimeouts{Header: patience, Idle: patience, Body: patience, Connect: patience, Response: patience},
		},
		Keys:   []seal.Key{seals.NewKey(1, time.Now())},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// start runs a proxy with the sites until the test ends.
func start(t testing.TB, o proxy.Options, sites ...conf.Site) *front {
	t.Helper()
	f := &front{t: t, log: &written.Buffer{}}
	if o.AccessLog == nil {
		l, err := accesslog.New(accesslog.JSON, "-", f.log)
		if err != nil {
			t.Fatal(err)
		}
		o.AccessLog = l
		t.Cleanup(func() { _ = l.Close() })
	}
	s, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = s
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	f.http = s.Addr("http").String()
	if a := s.Addr("https"); a != nil {
		f.tls = a.String()
	}
	s.SetStatic(sites)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitTime)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	f.settled(sites...)
	return f
}

// settled waits until every upstream of the sites has had its first check.
func (f *front) settled(sites ...conf.Site) {
	f.t.Helper()
	f.eventually("instances checked", func() bool {
		for _, c := range sites {
			for _, u := range c.Upstreams {
				up := f.Balancer().Pool(c.Name).Upstream(c.Name + "/" + u.Name)
				if up == nil || up.State() == balancer.Unverified {
					return false
				}
			}
		}
		return true
	})
}

// waitTime is how long a test waits for what must come: a bound on failures, long
// enough for a machine that does ten other things.
const waitTime = 90 * time.Second

// closesIdle reports whether the engine under test closes an idle connection of an
// instance as soon as something comes on it: the loops do. The others look when they
// take the connection up again, and find what has arrived by then.
func closesIdle() bool {
	engine := os.Getenv("PORTICO_TEST_ENGINE")
	return runtime.GOOS == "linux" && engine != "conn"
}

// eventually waits for a condition that a background goroutine brings about.
func (f *front) eventually(what string, ok func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(waitTime)
	for !ok() {
		if time.Now().After(deadline) {
			f.t.Fatalf("still waiting: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// site describes a static site named "shop" on host shop.test.
func site(upstreams ...string) conf.Site {
	c := conf.Site{Name: "shop", Front: sites.Front{Hosts: []string{"shop.test"}, Health: sites.Health{
		Interval: units.Duration(100 * time.Millisecond),
		Timeout:  units.Duration(5 * time.Second), // a busy machine is no reason to move visitors
	}}}
	for i, addr := range upstreams {
		c.Upstreams = append(c.Upstreams, conf.Upstream{Name: fmt.Sprintf("u%d", i), Addr: addr})
	}
	return c
}

// origin runs a handler as an application server.
func origin(t testing.TB, h http.HandlerFunc) (addr string, srv *httptest.Server) {
	t.Helper()
	srv = httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), srv
}

// rawOrigin runs a function for each connection that an application server gets.
func rawOrigin(t testing.TB, serve func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(2 * waitTime))
				serve(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// client returns an HTTP client that reaches shop.test and every other name at
// the proxy, and follows no redirect.
func (f *front) client() *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", f.http)
		},
		MaxIdleConnsPerHost: 200,
	}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport: tr, Timeout: waitTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// raw sends bytes and returns everything that comes back until the connection
// closes, or a short time after the last byte.
func (f *front) raw(request string) string {
	f.t.Helper()
	c, err := net.Dial("tcp", f.http)
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	go func() { _, _ = io.WriteString(c, request) }()
	_ = c.SetReadDeadline(time.Now().Add(waitTime))
	var answer []byte
	for b := make([]byte, 16<<10); ; {
		n, err := c.Read(b)
		if answer = append(answer, b[:n]...); err != nil {
			return string(answer)
		}
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	}
}

func get(t testing.TB, c *http.Client, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	return resp, string(b)
}
