package proxy_test

import (
	"net/http"
	"testing"
)

// Browsers' preflights and monitors' HEAD bring no cookie back: they begin no session, fill no
// site, and pass where all seats are taken. People do begin one, and wait then.
func TestPreflightsTakeNoSeat(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	})
	c := site(addr)
	c.Session.Max = 3
	f := start(t, options(), c)
	u := f.Balancer().Pool("shop").Upstream("shop/u0")
	ask := func(method, agent string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, "http://shop.test/cart", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "https://app.test")
		r.Header.Set("User-Agent", agent)
		resp, err := f.client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	pass := func(when string) {
		t.Helper()
		for _, method := range []string{http.MethodOptions, http.MethodHead} {
			if resp := ask(method, "browser"); resp.StatusCode != http.StatusOK || resp.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s, %s: %s, cookie %q", when, method, resp.Status, resp.Header.Get("Set-Cookie"))
			}
		}
	}
	for range 6 {
		pass("empty")
	}
	if n := u.Sessions(); n != 0 {
		t.Errorf("%d sessions of preflights", n)
	}
	for _, person := range []string{"one", "two", "three"} {
		if resp := ask(http.MethodGet, person); resp.StatusCode != http.StatusOK || resp.Header.Get("Set-Cookie") == "" {
			t.Errorf("person %s: %s", person, resp.Status)
		}
	}
	if resp := ask(http.MethodGet, "four"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a fourth person: %s", resp.Status)
	}
	pass("full")
}
