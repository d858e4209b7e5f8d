package admin_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/proxy/admin"
	"portico/proxy/admin/api"
	"portico/proxy/recent"
)

// TestExchangesByScope: who may see some sites sees the requests of these alone; filters that make no sense are refused.
func TestExchangesByScope(t *testing.T) {
	e := start(t, nil)
	for account, want := range map[string]string{"operator": "0123456789abcdef 1123456789abcdef 2123456789abcdef", "scoped": "0123456789abcdef"} {
		_, body := e.request("GET", "/v1/requests?limit=5", e.tokens[account], "")
		var ids []string
		for _, x := range decode[[]recent.Exchange](t, body) {
			ids = append(ids, x.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s sees %s, want %s", account, got, want)
		}
	}
	for path, want := range map[string]int{"?limit=0": 400, "?limit=x": 400, "?client=nobody": 400, "?site=nothing": 404, "?site=shop&client=192.0.2.7&failed=1": 200} {
		if resp, body := e.request("GET", "/v1/requests"+path, e.tokens["admin"], ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, _ := e.request("GET", "/v1/requests?site=blog", e.tokens["scoped"], ""); resp.StatusCode != 404 {
		t.Errorf("another's site: %d", resp.StatusCode)
	}
}

// TestSessionByCookie: the sticky cookie, alone or in a whole Cookie field, and the application's token name a session.
func TestSessionByCookie(t *testing.T) {
	var b *balancer.Balancer
	e := start(t, func(o *admin.Options) { b = o.Balancer })
	p := b.Pool("shop")
	now := time.Now().UnixMilli()
	var c balancer.Choice
	p.Pick(&c, &balancer.Request{Now: now})
	if c.Upstream == nil {
		t.Fatal("no upstream")
	}
	cookie := string(p.AppendCookie(nil, &c))
	p.Learn(&c, b.HashApp([]byte("ABCDEF")), now)
	p.Done(&c, balancer.Outcome{Now: now, Status: 200})
	seek := func(query url.Values) api.SessionList {
		t.Helper()
		resp, body := e.request("GET", "/v1/sessions/shop?"+query.Encode(), e.tokens["viewer"], "")
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		return decode[api.SessionList](t, body)
	}
	for _, value := range []string{cookie, "a=1; portico-shop=" + cookie + "; b=2"} {
		if got := seek(url.Values{"cookie": {value}}); got.Total != 1 || len(got.Sessions[0].ID) != 16 || got.Sessions[0].Instance != c.Upstream.ID() {
			t.Errorf("%q: %+v", value, got)
		}
	}
	for _, token := range []string{"ABCDEF", "ABCDEF.node1"} {
		if got := seek(url.Values{"token": {token}}); got.Total != 1 || got.Sessions[0].Instance != c.Upstream.ID() || got.Sessions[0].ID != seek(url.Values{"cookie": {cookie}}).Sessions[0].ID {
			t.Errorf("%q: %+v", token, got)
		}
	}
	if got := seek(url.Values{"cookie": {"a=1; JSESSIONID=ABCDEF.node1"}}); got.Total != 1 || got.Sessions[0].Instance != c.Upstream.ID() {
		t.Errorf("a Cookie field with the application's cookie: %+v", got)
	}
	for _, query := range []url.Values{{"cookie": {"nonsense"}}, {"token": {"XYZ"}}, {"cookie": {cookie[:len(cookie)-3] + "AAA"}}} {
		if got := seek(query); got.Total != 0 || got.Note == "" {
			t.Errorf("%v: %+v", query, got)
		}
	}
}
