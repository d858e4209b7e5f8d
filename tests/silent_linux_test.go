package tests

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"sync"
	"testing"
	"time"

	"portico/tests/harness"
)

// machine is a host with an application that answers with its name. A request for /wait is answered by one of them only.
type machine struct {
	*harness.Host
	mu      sync.Mutex
	waiting map[string]int // by the proxy that they came by, guarded by mu
}

func newMachine(t *testing.T, h *harness.Host, waits bool) *machine {
	t.Helper()
	m := &machine{Host: h, waiting: map[string]int{}}
	l, err := h.Listen(h.IP + ":80")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if waits && r.URL.Path == "/wait" {
			m.mu.Lock()
			m.waiting[r.Host]++
			m.mu.Unlock()
			<-end
			return
		}
		if r.URL.Path == "/warm" {
			<-time.After(500 * time.Millisecond) // so that each has a connection for itself
		}
		_, _ = io.WriteString(w, h.Name)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { close(end); _ = s.Close() })
	return m
}

// TestSilentDeathCostsNoSecondConnect: a machine falls silent while requests wait there. It is known as silent within seconds, the requests
// are answered elsewhere, and none of them is sent there again: nobody but the health checks tries to connect. Those of visitors with a
// session there wait for session.patience first.
func TestSilentDeathCostsNoSecondConnect(t *testing.T) {
	t.Parallel()
	start := time.Now()
	network := harness.NewNet(t)
	dead, alive := newMachine(t, network.Host("dead"), true), newMachine(t, network.Host("alive"), false)
	type front struct {
		*harness.Proxy
		host   *harness.Host
		knocks *harness.Knocks
		engine string
		there  []*http.Client // whose sessions are on the machine that dies
	}
	var fronts []*front
	for _, engine := range []string{"loop", "conn"} {
		h := network.Host(engine)
		h.Knows(dead.Host)
		config := writeFile(t, "portico.toml", fmt.Sprintf("[proxy.connections]\nidle_timeout = \"60s\"\n[[site]]\nname = \"shop\"\n[site.session]\npatience = \"12s\"\n"+
			"[[site.upstream]]\nname = \"dead\"\naddr = \"%s:80\"\n[[site.upstream]]\nname = \"alive\"\naddr = \"%s:80\"\n", dead.IP, alive.IP))
		p := &harness.Proxy{Dir: harness.TempDir(t), HTTP: h.IP + ":80", Admin: h.IP + ":7443", In: h.Command()}
		p.Process = harness.StartIn(t, h.Command(), "proxy-"+engine, nil, "proxy", "--config", config, "--dir", p.Dir, "--name", "proxy-1", "--engine", engine,
			"--http", p.HTTP, "--https", "", "--admin", p.Admin, "--catalog", h.IP+":7445", "--gossip", h.IP+":7946")
		p.WaitReady()
		fronts = append(fronts, &front{Proxy: p, host: h, knocks: h.Knocks(dead.Host), engine: engine})
	}

	client := func(f *front, cookies http.CookieJar) *http.Client {
		tr := &http.Transport{DialContext: f.host.DialTo(f.HTTP)}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Jar: cookies, Timeout: harness.Patience(2 * time.Minute)}
	}
	get := func(c *http.Client, f *front, path string) string {
		res, err := c.Get("http://" + f.HTTP + path)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b)
	}
	for _, f := range fronts {
		for range 40 {
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			c := client(f, jar)
			if get(c, f, "/") == dead.Name && len(f.there) < 5 {
				f.there = append(f.there, c)
			}
		}
		if len(f.there) < 5 {
			t.Fatalf("%s: %d visitors are on the machine that is to die", f.engine, len(f.there))
		}
	}

	const each, least = 160, 60 // requests by each proxy, and of these at the machine that dies
	var wg sync.WaitGroup
	defer wg.Wait()
	fresh := map[*front][]*http.Client{}
	for _, f := range fronts {
		for range each {
			c := client(f, nil)
			fresh[f] = append(fresh[f], c)
			wg.Go(func() { get(c, f, "/warm") })
		}
	}
	wg.Wait() // the requests to come find kept connections: only of those could the end look like that of an idle one
	ask := func(f *front, who string, c *http.Client) {
		wg.Go(func() {
			if got := get(c, f, "/wait"); got != alive.Name {
				t.Errorf("%s: %s got %.200q", f.engine, who, got)
			}
		})
	}
	for _, f := range fronts {
		for _, c := range fresh[f] {
			ask(f, "somebody new", c)
		}
		for _, c := range f.there {
			ask(f, "a visitor with a session", c)
		}
	}
	for _, f := range fronts {
		harness.Eventually(t, time.Minute, func() error {
			dead.mu.Lock()
			defer dead.mu.Unlock()
			if n := dead.waiting[f.HTTP]; n < least {
				return fmt.Errorf("%s: %d requests wait at the machine that is to die, of %d at least", f.engine, n, least)
			}
			return nil
		})
	}
	dead.Cut()
	began := time.Now()
	for _, f := range fronts {
		harness.Eventually(t, time.Minute, logged(f.Process, "to=down"))
		t.Logf("%s: known after %s", f.engine, time.Since(began).Round(100*time.Millisecond))
	}
	if known := time.Since(began); known > harness.Patience(9*time.Second) {
		t.Errorf("the silence was known after %s", known)
	}
	wg.Wait()
	for _, f := range fronts {
		took := time.Since(began)
		// Checks come every half a second at most; each request that went there again would be one more.
		checks := int(took/(500*time.Millisecond)) + 5
		n := f.knocks.Since(began)
		if t.Logf("%s: %d connections to the silent machine were tried in %s", f.engine, n, took.Round(time.Second)); n > checks {
			t.Errorf("%s: checks made %d of them at most: requests went there again", f.engine, checks)
		}
		if f.knocks.Since(start) == n {
			t.Errorf("%s: no connection was seen while the machine lived", f.engine)
		}
	}
}
