package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/balancer"
	"portico/conf"
	"portico/conf/sites"
	"portico/internal/units"
)

// app is an application server that keeps sessions in memory and can be killed.
type app struct {
	name string
	addr string
	srv  *httptest.Server
	mu   sync.Mutex
	n    map[string]int // visits by session
	lost atomic.Int64   // requests with Portico-Session-Lost
}

func newApp(t testing.TB, name string) *app {
	a := &app{name: name, n: map[string]int{}}
	a.addr, a.srv = origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == "portico-check" {
			return
		}
		if r.Header.Get("Portico-Session-Lost") != "" {
			a.lost.Add(1)
		}
		id := ""
		if c, err := r.Cookie("app"); err == nil {
			id = c.Value
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, ok := a.n[id]; !ok {
			id = fmt.Sprintf("%s-%d", name, len(a.n))
			http.SetCookie(w, &http.Cookie{Name: "app", Value: id, Path: "/"})
		}
		a.n[id]++
		fmt.Fprintf(w, "%s %d", name, a.n[id])
	})
	return a
}

// kill ends an application server as kill -9 would.
func (a *app) kill() {
	a.srv.Listener.Close()
	a.srv.CloseClientConnections()
}

func visitor(t testing.TB, f *front) *http.Client {
	c := f.client()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Jar = jar
	return c
}

// TestVisitorStays: the same visitor, the same server, over HTTP/1.1, whatever
// the policy; the cookie says nothing of addresses and hides from the instance
// (K1, K2, K5).
func TestVisitorStays(t *testing.T) {
	for _, policy := range []sites.Policy{"", "round-robin", "random", "least-connections"} {
		a, b := newApp(t, "a"), newApp(t, "b")
		c := site(a.addr, b.addr)
		c.Policy = policy
		f := start(t, options(), c)
		seen := map[string]int{}
		for range 10 {
			v := visitor(t, f)
			_, first := get(t, v, "http://shop.test/")
			seen[first[:1]]++
			for i := 2; i < 6; i++ {
				if _, body := get(t, v, "http://shop.test/"); body != fmt.Sprintf("%s %d", first[:1], i) {
					t.Fatalf("policy %q: visit %d got %q after %q", policy, i, body, first)
				}
			}
			u, _ := url.Parse("http://shop.test/")
			for _, k := range v.Jar.Cookies(u) {
				if k.Name == "portico-shop" && strings.Contains(k.Value, "127") {
					t.Errorf("the cookie tells an address: %q", k.Value)
				}
			}
		}
	}
}

// pinned returns the Set-Cookie field that pins, or "".
func pinned(resp *http.Response) string {
	for _, v := range resp.Header["Set-Cookie"] {
		if strings.HasPrefix(v, "portico-") {
			return v
		}
	}
	return ""
}

// TestOddCookies: forged, huge, doubled and empty values make a new session and
// never an error (K3, K4).
func TestOddCookies(t *testing.T) {
	a := newApp(t, "a")
	f := start(t, options(), site(a.addr))
	resp, _ := get(t, f.client(), "http://shop.test/")
	good, _, _ := strings.Cut(strings.TrimPrefix(pinned(resp), "portico-shop="), ";")
	flipped := good[:len(good)-1] + string('A'+(good[len(good)-1]-'A'+1)%26)
	for name, cookie := range map[string]string{
		"forged":     "portico-shop=" + flipped,
		"huge":       "portico-shop=" + strings.Repeat("a", 12000),
		"empty":      "portico-shop=",
		"no value":   "portico-shop",
		"bars":       "portico-shop=||||||",
		"quoted":     `portico-shop="` + good + `"`,
		"other site": "portico-other=" + good,
		"many":       strings.Repeat("portico-shop=x; ", 500),
		"bare":       "portico-shop=" + strings.Repeat("a", 10),
	} {
		resp, _ := get(t, f.client(), "http://shop.test/", "Cookie", cookie)
		if resp.StatusCode != 200 {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
		if set := pinned(resp); name != "quoted" && !strings.HasPrefix(set, "portico-shop=") {
			t.Errorf("%s: no new cookie, got %q", name, set)
		}
	}
	resp, _ = get(t, f.client(), "http://shop.test/", "Cookie", "portico-shop="+good)
	if set := pinned(resp); set != "" {
		t.Errorf("a fresh cookie was issued anew: %q", set)
	}
	token := good[:10]
	resp, _ = get(t, f.client(), "http://shop.test/", "Cookie", "portico-shop="+token)
	if set := pinned(resp); !strings.HasPrefix(set, "portico-shop="+token+"|") {
		t.Errorf("a bare token became %q, want a sealed cookie of the same", set)
	}
}

// TestCookieAndCaches: an answer that carries a pin is not for shared caches.
func TestCookieAndCaches(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60, s-maxage=600")
	})
	f := start(t, options(), site(addr))
	v := visitor(t, f)
	resp, _ := get(t, v, "http://shop.test/")
	if cc := resp.Header.Get("Cache-Control"); cc != "max-age=60, private" {
		t.Errorf("with the cookie: %q", cc)
	}
	resp, _ = get(t, v, "http://shop.test/")
	if cc := resp.Header.Get("Cache-Control"); cc != "public, max-age=60, s-maxage=600" {
		t.Errorf("without: %q", cc)
	}
}

// TestPartitionedCookie: over TLS the cookie is of the site in whose frame it was set, and so is the answer that takes it
// back, over HTTP/1.1 and HTTP/2. Browsers refuse the attribute without Secure, so plain HTTP has none.
func TestPartitionedCookie(t *testing.T) {
	app, _ := origin(t, func(http.ResponseWriter, *http.Request) {})
	s := site(app)
	s.Session.SameSite, s.Session.Partitioned, s.Session.Logout = "none", true, "/logout"
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, s)
	u := f.Balancer().Pool("shop").Upstreams()[0]
	for _, two := range []bool{true, false} {
		v, name := f.h2(pool), fmt.Sprintf("HTTP/2 %v", two)
		v.Transport.(*http.Transport).Protocols.SetHTTP1(!two)
		v.Transport.(*http.Transport).Protocols.SetHTTP2(two)
		v.Jar = visitor(t, f).Jar
		u.SetAdmin(balancer.AdminReady, "", 0)
		resp, _ := get(t, v, "https://shop.test/")
		if set := resp.Header.Get("Set-Cookie"); !strings.HasPrefix(set, "portico-shop=") || !strings.HasSuffix(set, "; Secure; SameSite=None; Partitioned") {
			t.Errorf("%s: %q", name, set)
		}
		u.SetAdmin(balancer.AdminDrain, "", 0)
		resp, _ = get(t, v, "https://shop.test/logout")
		if over := resp.Header.Get("Set-Cookie"); !strings.HasPrefix(over, "portico-shop=;") || !strings.HasSuffix(over, "; SameSite=None; Secure; Partitioned") {
			t.Errorf("%s, taken back: %q", name, over)
		}
	}
	resp, _ := get(t, start(t, options(), s).client(), "http://shop.test/")
	if set := resp.Header.Get("Set-Cookie"); !strings.HasSuffix(set, "; HttpOnly; SameSite=Lax") {
		t.Errorf("plain HTTP: %q", set)
	}
}

// TestCookieAttributes: what a browser may do with the cookie is what the site says, and None goes with
// Secure alone, since browsers drop it otherwise.
func TestCookieAttributes(t *testing.T) {
	for _, c := range []struct{ setting, plain, tls string }{
		{"", "Lax", "Lax"}, {"lax", "Lax", "Lax"}, {"strict", "Strict", "Strict"}, {"none", "Lax", "None"},
	} {
		a := newApp(t, "a")
		s := site(a.addr)
		s.Path, s.Session.SameSite, s.Session.Cookie = "/in", c.setting, "stays"
		o, pool := tlsOptions(t, "shop.test")
		ours := func(resp *http.Response) string { return resp.Header["Set-Cookie"][len(resp.Header["Set-Cookie"])-1] }
		resp, _ := get(t, start(t, o, s).h2(pool), "https://shop.test/in/")
		if got := ours(resp); !strings.HasPrefix(got, "stays=") || !strings.HasSuffix(got, "; Path=/in; HttpOnly; Secure; SameSite="+c.tls) {
			t.Errorf("samesite %q over TLS: %q", c.setting, got)
		}
		resp, _ = get(t, start(t, options(), s).client(), "http://shop.test/in/")
		if got := ours(resp); !strings.HasPrefix(got, "stays=") || !strings.HasSuffix(got, "; Path=/in; HttpOnly; SameSite="+c.plain) {
			t.Errorf("samesite %q: %q", c.setting, got)
		}
	}
}

// TestServerDies is the promise of failover: a hundred visitors with sessions,
// one of three servers is killed, and the patience is no longer than a request may wait. Every idempotent request succeeds, only the dead
// server's visitors move, each is told once, and none goes back when the server
// returns (K6, R5).
func TestServerDies(t *testing.T) {
	apps := []*app{newApp(t, "a"), newApp(t, "b"), newApp(t, "c")}
	c := site(apps[0].addr, apps[1].addr, apps[2].addr)
	c.Session.Patience = units.Duration(time.Second)
	f := start(t, options(), c)
	f.eventually("all up", func() bool { return f.InRotation("shop/u0") && f.InRotation("shop/u1") && f.InRotation("shop/u2") })
	const visitors = 100
	home := make([]string, visitors)
	clients := make([]*http.Client, visitors)
	var wg sync.WaitGroup
	for i := range visitors {
		clients[i] = visitor(t, f)
		r, _ := http.NewRequest(http.MethodGet, "http://shop.test/", nil)
		r.Header.Set("User-Agent", fmt.Sprint("visitor ", i))
		resp, err := clients[i].Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		home[i] = string(b[:1])
	}
	of := map[string]int{}
	for _, h := range home {
		of[h]++
	}
	if of["a"] == 0 || of["b"] == 0 || of["c"] == 0 {
		t.Fatalf("visitors are not spread: %v", of)
	}
	moved := make([]string, visitors)
	var killed atomic.Bool
	var failed, total atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	for i := range visitors {
		wg.Go(func() {
			for ctx.Err() == nil {
				total.Add(1)
				resp, err := clients[i].Get("http://shop.test/")
				if err != nil {
					failed.Add(1)
					t.Errorf("visitor %d: %v", i, err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 || err != nil {
					failed.Add(1)
					t.Errorf("visitor %d: %d %v", i, resp.StatusCode, err)
					continue
				}
				at := string(b[:1])
				switch {
				case at == home[i] && moved[i] == "":
				case home[i] == "a" && killed.Load() && at != "a" && (moved[i] == "" || moved[i] == at):
					moved[i] = at
				default:
					t.Errorf("visitor %d of %s is at %s (before: %q)", i, home[i], at, moved[i])
					return
				}
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
		})
	}
	traffic := func() {
		t.Helper()
		from := total.Load()
		f.eventually("more requests", func() bool { return total.Load() >= from+int64(2*len(clients)) })
	}
	traffic()
	killed.Store(true)
	apps[0].kill()
	f.eventually("the dead server out of rotation", func() bool { return !f.InRotation("shop/u0") })
	f.eventually("its visitors moved", func() bool { return apps[1].lost.Load()+apps[2].lost.Load() >= int64(of["a"]) })
	// It comes back, empty, at the same address.
	l, err := net.Listen("tcp", apps[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	back := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "a back") })}
	go func() { _ = back.Serve(l) }()
	defer back.Close()
	f.eventually("back in rotation", func() bool { return f.InRotation("shop/u0") })
	traffic()
	stop()
	wg.Wait()
	if n := apps[1].lost.Load() + apps[2].lost.Load(); n != int64(of["a"]) {
		t.Errorf("%d requests bore Portico-Session-Lost, want one for each of %d visitors", n, of["a"])
	}
	t.Logf("%d requests, %d failed, %d visitors moved", total.Load(), failed.Load(), of["a"])
}

// TestUpdateUnderLoad: changing sites while requests run loses none (R9), and
// neither sticky visitors nor WebSockets notice.
func TestUpdateUnderLoad(t *testing.T) {
	a, b := newApp(t, "a"), newApp(t, "b")
	c := site(a.addr, b.addr)
	f := start(t, options(), c)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var total atomic.Int64
	for i := range 8 {
		v := visitor(t, f)
		wg.Go(func() {
			home := ""
			for ctx.Err() == nil {
				method := []string{"GET", "POST"}[i%2]
				r, _ := http.NewRequest(method, "http://shop.test/", nil)
				r.Header.Set("User-Agent", fmt.Sprint("v", i))
				resp, err := v.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("%d %v", resp.StatusCode, err)
				}
				if home == "" {
					home = string(body[:1])
				}
				if !strings.HasPrefix(string(body), home) {
					t.Errorf("visitor of %s got %q", home, body)
				}
				total.Add(1)
			}
		})
	}
	for i := range 50 {
		list := []conf.Site{c}
		for k := range i % 5 {
			list = append(list, conf.Site{Name: fmt.Sprint("other", k), Front: sites.Front{Hosts: []string{fmt.Sprintf("o%d.test", k)}}, Upstreams: c.Upstreams})
		}
		list[0].Limits.Body = units.Size(1<<20 + i)
		f.SetStatic(list)
		from := total.Load()
		f.eventually("requests on this table", func() bool { return total.Load() > from+8 || t.Failed() })
	}
	stop()
	wg.Wait()
}
