package admin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// TestCrossSite is D1, D2 and T43: who may change something from a browser.
func TestCrossSite(t *testing.T) {
	e := start(t, nil)
	b := e.login("admin")
	if b.csrf == "" {
		t.Fatal("the page has no token")
	}
	form := url.Values{"verb": {"drain"}, "member": {"app-1"}, "csrf": {b.csrf}}
	without := url.Values{"verb": {"drain"}, "member": {"app-1"}}
	for _, c := range []struct {
		name   string
		form   url.Values
		header []string
		want   int
	}{
		{"the page", form, nil, http.StatusSeeOther},
		{"no token", without, nil, http.StatusForbidden},
		{"another login's token", url.Values{"verb": {"drain"}, "member": {"app-1"}, "csrf": {e.login("operator").csrf}}, nil, http.StatusForbidden},
		{"cross-site", form, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, http.StatusForbidden},
		{"same site, other origin", form, []string{"Sec-Fetch-Site", "same-site", "Origin", "https://evil.example.com"}, http.StatusForbidden},
		{"other origin, old browser", form, []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, http.StatusForbidden},
		{"null origin", form, []string{"Sec-Fetch-Site", "", "Origin", "null"}, http.StatusForbidden},
		{"plain http origin", form, []string{"Sec-Fetch-Site", "", "Origin", strings.Replace(e.server.URL, "https:", "http:", 1)}, http.StatusForbidden},
		{"neither field", form, []string{"Sec-Fetch-Site", "", "Origin", ""}, http.StatusForbidden},
		{"as text", form, []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
	} {
		resp, body := b.post("/stats/act", c.form, c.header...)
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d, want %d: %.200s", c.name, resp.StatusCode, c.want, body)
		}
	}
	// The API by cookie: only with the token, and as JSON.
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"no token", []string{"Origin", e.server.URL}, http.StatusForbidden},
		{"token", []string{"Origin", e.server.URL, "Portico-Csrf", b.csrf}, http.StatusOK},
		{"form", []string{"Origin", e.server.URL, "Portico-Csrf", b.csrf, "Content-Type", "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType},
		{"cross-site", []string{"Origin", "https://evil.example", "Portico-Csrf", b.csrf}, http.StatusForbidden},
	} {
		resp, body := e.requestBy(b.Client, "POST", "/v1/members/app-1/ready", "", `{}`, c.header...)
		if resp.StatusCode != c.want {
			t.Errorf("API, %s: %d, want %d: %s", c.name, resp.StatusCode, c.want, body)
		}
	}
	// A bearer token is nothing that a browser adds, but a page that had one
	// would still be another origin.
	if resp, _ := e.request("POST", "/v1/members/app-1/ready", e.tokens["admin"], "{}", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("token, cross-site: %d", resp.StatusCode)
	}
	if resp, _ := e.request("POST", "/v1/members/app-1/ready", e.tokens["admin"], "a=b", "Content-Type", "application/x-www-form-urlencoded"); resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("token, form: %d", resp.StatusCode)
	}
	// The login form cannot be sent from elsewhere either.
	if resp, _ := b.post("/login", url.Values{"account": {"admin"}, "password": {password}}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("login from elsewhere: %d", resp.StatusCode)
	}
}

func TestLoginCookie(t *testing.T) {
	e := start(t, nil)
	b := e.login("viewer")
	u, _ := url.Parse(e.server.URL)
	cookies := b.Jar.Cookies(u)
	if len(cookies) != 1 || !strings.HasPrefix(cookies[0].Name, "__Host-") {
		t.Fatalf("cookies %v", cookies)
	}
	resp, _ := b.post("/login", url.Values{"account": {"viewer"}, "password": {password}, "next": {"https://evil.example/"}})
	set := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "Secure", "SameSite=Strict", "Path=/", "Max-Age=3600"} {
		if !strings.Contains(set, want) {
			t.Errorf("cookie %q lacks %s", set, want)
		}
	}
	if resp.Header.Get("Location") != "/stats" {
		t.Errorf("sent to %q", resp.Header.Get("Location"))
	}
	// A changed cookie is nobody's; a logout ends copies too.
	stolen := "__Host-portico-admin=" + cookies[0].Value
	if resp, _ := e.request("GET", "/v1/whoami", "", "", "Cookie", stolen[:len(stolen)-2]+"xx"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a forged cookie: %d", resp.StatusCode)
	}
	old := b.Jar.Cookies(u)[0].Value
	resp, _ = b.post("/logout", url.Values{"csrf": {e.csrfOf(b)}})
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("logout: %d", resp.StatusCode)
	}
	if resp, _ := e.request("GET", "/v1/whoami", "", "", "Cookie", "__Host-portico-admin="+old); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the logout: %d", resp.StatusCode)
	}
	// A new password ends logins; so does disabling the account.
	b = e.login("viewer")
	e.update(func(tx *catalog.Tx) error {
		_, err := command.ChangeAccount(tx, "viewer", func(a *catalog.Account) error { a.Disabled = true; return nil })
		return err
	})
	if resp, _ := b.get("/stats"); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/login" {
		t.Errorf("a disabled account sees the page: %d", resp.StatusCode)
	}
}

func (e *env) csrfOf(b *browser) string {
	_, page := b.get("/stats")
	if m := csrfField.FindStringSubmatch(page); m != nil {
		return m[1]
	}
	return ""
}

// TestRebinding is D2: a name that somebody else's DNS points here.
func TestRebinding(t *testing.T) {
	e := start(t, nil)
	for host, want := range map[string]int{
		"proxy.example.com": 200, "PROXY.example.com.:7443": 200, "localhost:1": 200, "127.0.0.1": 200, "[::1]:7443": 200, "192.0.2.1": 200,
		"evil.example": 421, "proxy.example.com.evil.example": 421, "127.0.0.1.evil.example": 421, "localhost:x": 421, "proxy.example.com@evil": 421, "1.2.3": 421,
	} {
		if resp, body := e.request("GET", "/v1/whoami", e.tokens["viewer"], "", "Host", host); resp.StatusCode != want && resp.StatusCode != 400 || want == 200 && resp.StatusCode != 200 {
			t.Errorf("%s: %d, want %d: %s", host, resp.StatusCode, want, body)
		}
	}
	if resp, _ := e.request("POST", "/v1/knock", "", "{}", "Host", "any.example"); resp.StatusCode != http.StatusAccepted {
		t.Errorf("a machine that knocks by another name: %d", resp.StatusCode)
	}
}

// TestPathTricks is D3: no spelling of a path gives a scoped token another
// site.
func TestPathTricks(t *testing.T) {
	e := start(t, nil)
	for _, path := range []string{
		"/v1/sites/shop/../blog", "/v1/sites/shop/../blog/archive", "/v1//sites/blog", "/v1/sites//blog", "/v1/sites/%62log", "/v1/sites/shop%2f..%2fblog",
		"/v1/sites/shop/%2e%2e/blog", "/v1/sites/shop/./../blog", "/v1/sites/shop;/../blog", "/v1/sites/shop%00/../blog", "/v1/sites/shop\\..\\blog",
		"/v1/sites/shop%5c..%5cblog", "//v1/sites/blog", "/v1/sites/blog/", "/v1/sites/blog%20", "/V1/sites/blog", "/v1/sites/shop%252f..%252fblog", "/./v1/sites/blog",
	} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
			for _, account := range []string{"scoped", ""} {
				resp, body := e.request(method, path, e.tokens[account], "")
				if resp.StatusCode < 400 {
					t.Errorf("%s %s by %q: %d %s", method, path, account, resp.StatusCode, body)
				}
			}
		}
	}
}

// TestHeaders is S2 and S3.
func TestHeaders(t *testing.T) {
	e := start(t, nil)
	for _, path := range []string{"/healthz", "/login", "/v1/whoami", "/stats", "/assets/page.js", "/nothing", "/v1/../x"} {
		resp, _ := e.request("GET", path, "", "")
		csp := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", path, resp.Header)
		}
		if cc := resp.Header.Get("Cache-Control"); cc != "no-store" && path != "/assets/page.js" {
			t.Errorf("%s: Cache-Control %q", path, cc)
		}
	}
}
