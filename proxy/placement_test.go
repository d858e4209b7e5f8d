package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/proxy"
	"portico/proxy/sticky"
)

// onEngines runs a test with each of the engines that this system has.
func onEngines(t *testing.T, f func(t *testing.T, o proxy.Options)) {
	t.Helper()
	for _, name := range engines() {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.Conf.Engine = name
			f(t, o)
		})
	}
}

// TestPolicyHeader: what the header field says decides, and requests without it go in turn.
func TestPolicyHeader(t *testing.T) {
	onEngines(t, func(t *testing.T, o proxy.Options) {
		var addrs []string
		for i := range 3 {
			addr, _ := origin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) })
			addrs = append(addrs, addr)
		}
		c := site(addrs...)
		c.Session.Sticky, c.Policy, c.PolicyHeader = "none", "header", "X-Tenant"
		f := start(t, o, c)
		first := map[string]string{}
		used := map[string]bool{}
		for range 3 {
			for i := range 24 {
				tenant := fmt.Sprintf("tenant %d", i)
				_, at := get(t, f.client(), "http://shop.test/", "X-Tenant", tenant)
				if first[tenant] == "" {
					first[tenant] = at
				}
				if used[at] = true; first[tenant] != at {
					t.Errorf("%s went to %s, then to %s", tenant, first[tenant], at)
				}
			}
		}
		if len(used) != 3 {
			t.Errorf("24 tenants are all on %v", used)
		}
		clear(used)
		for range 3 {
			_, at := get(t, f.client(), "http://shop.test/")
			used[at] = true
		}
		if len(used) != 3 {
			t.Errorf("three requests without the field are all on %v", used)
		}
	})
}

// TestOwnCookiesStayInside: an application sees none of portico's cookies, and all of its own.
func TestOwnCookiesStayInside(t *testing.T) {
	onEngines(t, func(t *testing.T, o proxy.Options) {
		addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Join(r.Header["Cookie"], "; ")) })
		c := site(addr)
		c.Session.Max, c.Session.Notice = 1000, true
		f := start(t, o, c)
		for sent, want := range map[string]string{
			"portico-shop-place=x; mine=1; portico-shop-notice=y": "mine=1",
			"portico-shop-notice=y":                               "",
			"portico-shop=x; portico-shop-place=z":                "",
			"portico-shop-placement=p; portico-shop-place":        "portico-shop-placement=p; portico-shop-place",
			"a=portico-shop-place=1; portico-shop-other=o":        "a=portico-shop-place=1; portico-shop-other=o",
		} {
			if _, got := get(t, f.client(), "http://shop.test/", "Cookie", sent); got != want {
				t.Errorf("of %q the application sees %q, want %q", sent, got, want)
			}
		}
	})
}

// TestSafeMoments: a visitor of a server that is being emptied stays while the session
// lasts, and begins the next one elsewhere, without a word of loss, once it is over: by the
// path of the setting, by the application's header, or by its idle time.
func TestSafeMoments(t *testing.T) {
	onEngines(t, func(t *testing.T, o proxy.Options) {
		var lost []string
		handler := func(name string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if v := r.Header.Get(sticky.SessionLostHeader); v != "" {
					lost = append(lost, v)
				}
				if r.URL.Path == "/bye" {
					w.Header().Set(sticky.SessionEndHeader, "1")
				}
				fmt.Fprint(w, name)
			}
		}
		one, _ := origin(t, handler("one"))
		two, _ := origin(t, handler("two"))
		c := site(one, two)
		c.Session.Logout = "/logout"
		f := start(t, o, c)
		pool := f.Balancer().Pool("shop")
		emptied, other := pool.Upstream("shop/u0"), pool.Upstream("shop/u1")
		now := time.Now()
		sealer, err := seal.NewSealer("shop", o.Keys)
		if err != nil {
			t.Fatal(err)
		}
		id := uint64(0)
		visit := func(path string, age time.Duration) (*http.Client, string) {
			id++
			at := now.Add(-age).Unix()
			v := visitor(t, f)
			cookie := sealer.Seal(nil, seal.Cookie{Token: emptied.Token(), Session: id, Issued: at, Start: at})
			_, body := get(t, v, "http://shop.test"+path, "Cookie", "portico-shop="+string(cookie))
			return v, body
		}
		emptied.SetAdmin(balancer.AdminDrain, "", now.UnixMilli())
		if _, at := visit("/", 0); at != "one" {
			t.Errorf("a session that lasts went to %s", at)
		}
		for _, path := range []string{"/logout", "/bye"} {
			v, at := visit(path, 0)
			if at != "one" {
				t.Errorf("%s was asked of %s", path, at)
			}
			if _, at := get(t, v, "http://shop.test/"); at != "two" {
				t.Errorf("after %s the visitor is on %s", path, at)
			}
		}
		if _, at := visit("/", 40*time.Minute); at != "two" {
			t.Errorf("after the idle time the visitor is on %s", at)
		}
		if len(lost) != 0 || slices.ContainsFunc(balancer.Causes(), func(c balancer.Cause) bool { return pool.Lost[c].Load() != 0 }) {
			t.Errorf("losses were told: %q", lost)
		}
		if emptied.Sessions() != 1 || other.Sessions() != 3 {
			t.Errorf("%d and %d sessions are counted, want 1 and 3", emptied.Sessions(), other.Sessions())
		}
	})
}

// TestZoneOfTheProxy: proxy.zone gives new visitors to the upstreams that are near.
func TestZoneOfTheProxy(t *testing.T) {
	near, far := newApp(t, "near"), newApp(t, "far")
	shop := site(far.addr, near.addr)
	shop.Upstreams[0].Zone, shop.Upstreams[1].Zone = "room-1", "room-2"
	o := options()
	o.Conf.Zone = "room-2"
	f := start(t, o, shop)
	for i := range 8 {
		if _, body := get(t, visitor(t, f), "http://shop.test/", "User-Agent", fmt.Sprint(i)); !strings.HasPrefix(body, "near") {
			t.Errorf("a new visitor came to %q", body)
		}
	}
}
