package proxy_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/proxy/explain"
)

// told reports whether an explanation has a step with this result, and returns its detail.
func told(steps []explain.Step, step, result string) (detail string, ok bool) {
	for _, s := range steps {
		if s.Step == step && strings.HasPrefix(s.Result, result) {
			return s.Detail, true
		}
	}
	return "", false
}

// expect asks for an explanation and looks for steps "step: result" in it, each with a piece of its detail behind " | ".
func (f *front) expect(a explain.Ask, want ...string) {
	f.t.Helper()
	steps, err := f.Explain(a)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, w := range want {
		head, piece, _ := strings.Cut(w, " | ")
		step, result, _ := strings.Cut(head, ": ")
		if detail, ok := told(steps, step, result); !ok || !strings.Contains(detail, piece) {
			f.t.Errorf("%+v: no %q in %v", a, w, steps)
		}
	}
}

// TestExplain tells the way of a request without sending one.
func TestExplain(t *testing.T) {
	a := newApp(t, "a")
	f := start(t, options(), site(a.addr, newApp(t, "b").addr))
	resp, _ := get(t, f.client(), "http://shop.test/")
	value, _, _ := strings.Cut(strings.TrimPrefix(pinned(resp), "portico-shop="), ";")
	f.expect(explain.Ask{URL: "http://shop.test/x"}, "host: shop.test", "site: shop", "cookie: none", "session: new", "choice: by policy least-sessions")
	f.expect(explain.Ask{URL: "http://shop.test/x", Cookie: value}, "session:  | begun ", "choice: u | its session is there")
	f.expect(explain.Ask{URL: "http://shop.test/x", Cookie: "a=b; portico-shop=" + value + "; c=d"}, "choice: u | its session is there")
	f.expect(explain.Ask{URL: "http://shop.test/x", Header: http.Header{"Cookie": {"portico-shop=" + value}}}, "choice: u | its session is there")
	f.expect(explain.Ask{URL: "http://shop.test/x", Cookie: strings.Repeat("b", 10)}, "cookie: refused | no instance has its token", "session: new")
	f.expect(explain.Ask{URL: "http://shop.test/x", Cookie: value[:len(value)-2] + "AA"}, "cookie: refused | seal does not fit", "session: new")
	f.expect(explain.Ask{URL: "http://nobody.test/"}, "site: none | 404")
	f.expect(explain.Ask{URL: "http://shop.test/x", Method: "TRACE"}, "method: refused | 405")
	before := f.Balancer().Pool("shop").Snapshot(0)
	f.expect(explain.Ask{URL: "http://shop.test/x", From: netip.MustParseAddr("192.0.2.7"), Header: http.Header{"X-Forwarded-For": {"198.51.100.1"}}}, "client: 192.0.2.7 | not believed")
	if after := f.Balancer().Pool("shop").Snapshot(0); after.Sessions != before.Sessions || after.NewSessions != before.NewSessions {
		t.Errorf("explaining has changed the counts: %+v, before %+v", after, before)
	}
	for _, bad := range []string{"/x", "shop.test", "ftp://shop.test/", "://"} {
		if _, err := f.Explain(explain.Ask{URL: bad}); err == nil {
			t.Errorf("%q is explained", bad)
		}
	}
	f.Balancer().Pool("shop").Upstream("shop/u0").SetAdmin(balancer.AdminMaint, "cables", 0)
	f.Balancer().Pool("shop").Upstream("shop/u1").SetAdmin(balancer.AdminMaint, "cables", 0)
	f.expect(explain.Ask{URL: "http://shop.test/x"}, "choice: none | 503", "instance: u0 | cables")
}

// TestExplainLostSessionAndNotice: where the visitor goes, that he goes where the explanation says, and the page.
func TestExplainLostSessionAndNotice(t *testing.T) {
	c := site(newApp(t, "a").addr, newApp(t, "b").addr, newApp(t, "c").addr)
	c.Session.Notice = true
	f := start(t, options(), c)
	v := visitor(t, f)
	resp, _ := get(t, v, "http://shop.test/")
	value, _, _ := strings.Cut(strings.TrimPrefix(pinned(resp), "portico-shop="), ";")
	_, body := get(t, v, "http://shop.test/")
	home := map[string]string{"a": "u0", "b": "u1", "c": "u2"}[body[:1]]
	f.Balancer().Pool("shop").Upstream("shop/"+home).SetAdmin(balancer.AdminMaint, "", 0)
	f.expect(explain.Ask{URL: "http://shop.test/", Cookie: value, Header: http.Header{"Accept": {"text/html"}}}, "notice: shown")
	steps, err := f.Explain(explain.Ask{URL: "http://shop.test/api", Cookie: value})
	if err != nil {
		t.Fatal(err)
	}
	if detail, ok := told(steps, "session", "lost"); !ok || !strings.Contains(detail, "cause operator") || !strings.Contains(detail, home) {
		t.Errorf("%v", steps)
	}
	foretold := ""
	for _, s := range steps {
		if s.Step == "choice" {
			foretold = s.Result
		}
	}
	_, body = get(t, v, "http://shop.test/api")
	if to := map[string]string{"a": "u0", "b": "u1", "c": "u2"}[body[:1]]; to != foretold {
		t.Errorf("the visitor went to %s, the explanation said %q", to, foretold)
	}
	f.expect(explain.Ask{URL: "http://shop.test/api", Cookie: value}, "session: has moved", "choice: "+foretold)
}

// TestExplainWaitingRoom: who would have to wait, and behind how many.
func TestExplainWaitingRoom(t *testing.T) {
	c := site(newApp(t, "a").addr)
	c.Session.Max = 1
	f := start(t, options(), c)
	get(t, visitor(t, f), "http://shop.test/")
	f.expect(explain.Ask{URL: "http://shop.test/"}, "room: waits | behind 0 of 0")
	resp, _ := get(t, visitor(t, f), "http://shop.test/", "User-Agent", "one")
	ticket, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	f.expect(explain.Ask{URL: "http://shop.test/"}, "room: waits | behind 1 of 1")
	f.expect(explain.Ask{URL: "http://shop.test/", Cookie: ticket}, "room: waits | keeps place 1 of 1")
	came := time.Now().UnixMilli()
	f.eventually("the clock has moved on", func() bool { return time.Now().UnixMilli() > came })
	resp, _ = get(t, visitor(t, f), "http://shop.test/", "User-Agent", "two")
	if _, body := get(t, visitor(t, f), "http://shop.test/", "Accept", "application/json", "Cookie", ticket); !strings.Contains(body, `"position":1`) {
		t.Errorf("explaining took a place: %s (%s)", body, resp.Status)
	}
}

// TestExplainToken: a session that the application's own token leads to.
func TestExplainToken(t *testing.T) {
	a := newApp(t, "a")
	b := newApp(t, "b")
	c := site(a.addr, b.addr)
	c.Session.Profile = "cookie:app header:X-App"
	f := start(t, options(), c)
	resp, body := get(t, f.client(), "http://shop.test/")
	home := map[string]string{"a": "u0", "b": "u1"}[body[:1]]
	token := ""
	for _, k := range resp.Cookies() {
		if k.Name == "app" {
			token = k.Value
		}
	}
	f.expect(explain.Ask{URL: "http://shop.test/", Cookie: "app=" + token}, "token: found | cookie app", "session: by token | "+home, "choice: "+home)
	f.expect(explain.Ask{URL: "http://shop.test/", Header: http.Header{"X-App": {token}}}, "token: found | header X-App", "choice: "+home)
	f.expect(explain.Ask{URL: "http://shop.test/"}, "token: none | cookie app, header X-App", "session: new")
}
