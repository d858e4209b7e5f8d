package proxy_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/internal/units"
	"portico/proxy/sticky"
	"portico/tests/support/written"
)

// TestNoticeOfALostSession: people are told by a page before the application is asked, once; programs
// are not; the application is told all the same, and the log has a line.
func TestNoticeOfALostSession(t *testing.T) {
	a, b := newApp(t, "a"), newApp(t, "b")
	apps := map[string]*app{"a": a, "b": b}
	c := site(a.addr, b.addr)
	c.Session.Notice, c.Session.Patience = true, units.Duration(200*time.Millisecond)
	o := options()
	log := &written.Buffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	f := start(t, o, c)
	const url = "http://shop.test/"
	person, program := visitor(t, f), visitor(t, f)
	var at string
	for { // both on one instance
		_, one := get(t, person, url)
		_, two := get(t, program, url)
		if at = one[:1]; two[:1] == at {
			break
		}
		program = visitor(t, f)
	}
	apps[at].kill()
	other := map[string]string{"a": "b", "b": "a"}[at]
	f.eventually("the dead instance is given up", func() bool {
		return f.Balancer().Pool("shop").Upstream("shop/u"+map[string]string{"a": "0", "b": "1"}[at]).Failed() != balancer.CauseNone
	})

	resp, page := get(t, person, url, "Accept", "text/html", "Sec-Fetch-Mode", "navigate")
	if resp.StatusCode != 200 || !strings.Contains(page, "Your session has ended") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("the person got %s %q", resp.Status, page)
	}
	if n := apps[other].lost.Load(); n != 0 {
		t.Errorf("the application was asked %d times before the person went on", n)
	}
	for range 2 {
		if _, body := get(t, person, url, "Accept", "text/html", "Sec-Fetch-Mode", "navigate"); !strings.HasPrefix(body, other) {
			t.Errorf("then %q", body)
		}
	}
	if n := apps[other].lost.Load(); n != 1 {
		t.Errorf("the application was told %d times", n)
	}
	if _, body := get(t, program, url, "Accept", "application/json"); !strings.HasPrefix(body, other) {
		t.Errorf("the program got %q", body)
	}
	if n := strings.Count(log.String(), `msg="session lost" site=shop cause=`); n != 2 {
		t.Errorf("%d lines in the log of two lost sessions:\n%s", n, log)
	}
}

// TestLogout: on a server that is being emptied, a logged out visitor's session is over, by
// the path of the setting or the application's header, which stays inside.
func TestLogout(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bye" {
			w.Header().Set(sticky.SessionEndHeader, "1")
		}
	}
	one, _ := origin(t, handler)
	c := site(one)
	c.Session.Logout = "/logout"
	f := start(t, options(), c)
	u := f.Balancer().Pool("shop").Upstreams()[0]
	for i, path := range []string{"/logout", "/bye"} {
		v := visitor(t, f)
		get(t, v, "http://shop.test/")
		if resp, _ := get(t, v, "http://shop.test"+path); resp.Header.Get("Set-Cookie") != "" || u.Sessions() != i+1 {
			t.Errorf("%s: without need the cookie was taken: %v", path, resp.Header)
		}
	}
	u.SetAdmin(balancer.AdminDrain, "", 0)
	u.SetAdmin(balancer.AdminReady, "", 0)
	vs := []*http.Client{visitor(t, f), visitor(t, f)}
	for _, v := range vs {
		get(t, v, "http://shop.test/")
	}
	before := u.Sessions()
	u.SetAdmin(balancer.AdminDrain, "", 0)
	for i, path := range []string{"/logout", "/bye"} {
		resp, _ := get(t, vs[i], "http://shop.test"+path)
		if set := resp.Header.Get("Set-Cookie"); !strings.HasPrefix(set, "portico-shop=;") || !strings.Contains(set, "Max-Age=0") {
			t.Errorf("%s: the answer sets %q", path, set)
		}
		if resp.Header.Get(sticky.SessionEndHeader) != "" {
			t.Errorf("%s: the header got out", path)
		}
	}
	if u.Sessions() != before-2 {
		t.Errorf("%d sessions of %d are left, want two fewer", u.Sessions(), before)
	}
}
