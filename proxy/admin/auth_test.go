package admin_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin"
)

// access is what each account gets from each route: the table of permissions,
// written down a second time so that a change of the first one is seen. "-"
// stands for nobody's, the letters for viewer, scoped, deployer, operator and
// admin.
var access = []struct {
	method, path, allowed string
	body                  string
}{
	{"GET", "/healthz", "-vsdoa", ""},
	{"GET", "/readyz", "-vsdoa", ""},
	{"GET", "/metrics", "vdoa", ""},
	{"GET", "/v1/whoami", "vsdoa", ""},
	{"GET", "/v1/stats", "vsdoa", ""},
	{"GET", "/v1/sessions", "vsdoa", ""},
	{"GET", "/v1/sessions/shop", "vsdoa", ""},
	{"GET", "/v1/sessions/blog", "vdoa", ""},
	{"GET", "/v1/sessions/shop/0123456789abcdef", "vsdoa", ""},
	{"POST", "/v1/sessions/shop/0123456789abcdef/end", "oa", ""},
	{"POST", "/v1/sessions/shop/0123456789abcdef/move", "oa", ""},
	{"GET", "/v1/explain?url=http://x/", "vdoa", ""},
	{"GET", "/v1/requests", "sdoa", ""},
	{"GET", "/v1/sites", "vsdoa", ""},
	{"GET", "/v1/sites/shop", "vsdoa", ""},
	{"GET", "/v1/sites/blog", "vdoa", ""},
	{"POST", "/v1/sites/shop", "oa", `{"policy":"round-robin"}`},
	{"DELETE", "/v1/sites/shop", "a", ""},
	{"PUT", "/v1/sites/shop/archive", "sdoa", "zip"},
	{"PUT", "/v1/sites/blog/archive", "doa", "zip"},
	{"GET", "/v1/sites/blog/forecast", "vdoa", ""},
	{"GET", "/v1/sites/shop/releases", "vsdoa", ""},
	{"GET", "/v1/sites/blog/releases", "vdoa", ""},
	{"POST", "/v1/sites/shop/rollback", "sdoa", `{}`},
	{"POST", "/v1/sites/blog/rollback", "doa", `{}`},
	{"POST", "/v1/sites/shop/cancel", "sdoa", ""},
	{"POST", "/v1/sites/blog/cancel", "doa", ""},
	{"GET", "/v1/sites/shop/logs", "sdoa", ""},
	{"GET", "/v1/sites/blog/logs", "doa", ""},
	{"GET", "/v1/hosts", "vsdoa", ""},
	{"POST", "/v1/hosts/shop.example.com/share", "oa", `{"site":"extra"}`},
	{"POST", "/v1/hosts/shop.example.com/unshare", "oa", `{"site":"extra"}`},
	{"POST", "/v1/hosts/free.example.com/move", "oa", `{"site":"blog"}`},
	{"GET", "/v1/deploys", "vsdoa", ""},
	{"GET", "/v1/deploys/deploy-shop", "vsdoa", ""},
	{"GET", "/v1/deploys/deploy-blog", "vdoa", ""},
	{"GET", "/v1/deploys/deploy-shop/events", "vsdoa", ""},
	{"GET", "/v1/deploys/deploy-blog/events", "vdoa", ""},
	{"GET", "/v1/members", "vdoa", ""},
	{"POST", "/v1/members/newbie/accept", "a", ""},
	{"POST", "/v1/members/newbie/refuse", "a", ""},
	{"POST", "/v1/members/app-1/revoke", "a", ""},
	{"POST", "/v1/members/app-1/drain", "oa", ""},
	{"POST", "/v1/members/app-1/maint", "oa", ""},
	{"POST", "/v1/members/app-1/ready", "oa", ""},
	{"POST", "/v1/members/app-1/labels", "a", `{"labels":["zone-a"]}`},
	{"DELETE", "/v1/members/nobody", "a", ""},
	{"GET", "/v1/turned-away", "vdoa", ""},
	{"GET", "/v1/keys", "a", ""},
	{"POST", "/v1/keys/session/rotate", "a", ""},
	{"POST", "/v1/sites/shop/releases/bbbbbbbb/drain", "oa", ""},
	{"POST", "/v1/sites/shop/instances/iiii/drain", "oa", ""},
	{"GET", "/v1/drains", "vsdoa", ""},
	{"GET", "/v1/drains/ended", "vsdoa", ""},
	{"GET", "/v1/invites", "a", ""},
	{"POST", "/v1/invites", "a", ""},
	{"DELETE", "/v1/invites/nothing", "a", ""},
	{"GET", "/v1/accounts", "a", ""},
	{"POST", "/v1/accounts", "a", `{"name":"extra","role":"viewer"}`},
	{"DELETE", "/v1/accounts/extra", "a", ""},
	{"GET", "/v1/tokens", "vsdoa", ""},
	{"POST", "/v1/tokens", "vsdoa", `{"label":"x"}`},
	{"DELETE", "/v1/tokens/nothing", "vsdoa", ""},
	{"GET", "/v1/export/haproxy", "vdoa", ""},
	{"POST", "/v1/export/haproxy", "a", ""},
	{"GET", "/v1/audit", "a", ""},
	{"GET", "/v1/backup", "a", ""},
	{"GET", "/stats", "vsdoa", ""},
	{"GET", "/stats;csv", "vsdoa", ""},
	{"GET", "/stats/sites/shop", "vsdoa", ""},
	{"GET", "/stats/sites/blog", "vdoa", ""},
	{"GET", "/stats/confirm?verb=drain&member=app-1", "oa", ""},
	{"GET", "/stats/confirm?verb=deploy&site=shop", "sdoa", ""},
	{"GET", "/stats/confirm?verb=deploy&site=blog", "doa", ""},
	{"GET", "/stats/confirm?verb=deploy", "doa", ""},
	{"GET", "/stats/confirm?verb=cancel&site=shop", "sdoa", ""},
	{"GET", "/stats/confirm?verb=remove&site=shop", "a", ""},
	{"GET", "/stats/confirm?verb=rollback&site=shop&release=" + strings.Repeat("a", 64), "sdoa", ""},
	{"GET", "/stats/confirm?verb=cut&site=shop&release=" + strings.Repeat("a", 64), "oa", ""},
	{"GET", "/stats/confirm?verb=drain&site=shop&instance=iiii", "oa", ""},
	{"GET", "/stats/confirm?verb=end&site=shop&session=0123456789abcdef", "oa", ""},
	{"GET", "/stats/confirm?verb=accept&member=newbie", "a", ""},
}

// TestEveryRouteAndRole holds the one permission check to the table above, and
// the table to the routes that exist (S1, T43).
func TestEveryRouteAndRole(t *testing.T) {
	e := start(t, nil)
	letters := map[string]string{"viewer": "v", "scoped": "s", "deployer": "d", "operator": "o", "admin": "a"}
	covered := map[string]bool{}
	for _, c := range access {
		covered[admin.RouteOf(c.method, c.path)] = true
		for _, account := range append([]string{""}, roles...) {
			resp, body := e.request(c.method, c.path, e.tokens[account], c.body)
			letter := "-"
			if account != "" {
				letter = letters[account]
			}
			refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden ||
				resp.StatusCode == http.StatusNotFound && strings.Contains(c.path, "deploy-blog")
			if allowed := strings.Contains(c.allowed, letter); allowed == refused {
				t.Errorf("%s %s by %q: %d, allowed %v: %s", c.method, c.path, account, resp.StatusCode, allowed, body)
			}
			if account == "" && refused && resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s without a credential: %d, want 401", c.method, c.path, resp.StatusCode)
			}
			if resp.StatusCode >= 500 {
				t.Errorf("%s %s by %q: %d %s", c.method, c.path, account, resp.StatusCode, body)
			}
		}
	}
	browserOnly := map[string]bool{"GET /{$}": true, "GET /login": true, "POST /login": true, "POST /logout": true, "POST /stats/act": true, "POST /stats/deploy": true, "GET /assets/{file}": true, "POST /v1/login": true}
	for _, pattern := range admin.Patterns() {
		if !covered[pattern] && !browserOnly[pattern] {
			t.Errorf("route %q is not in the table of this test", pattern)
		}
	}
}

// TestRoutesAreDocumented compares the table with docs/api.md.
func TestRoutesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range admin.Patterns() {
		if !bytes.Contains(doc, []byte("`"+pattern+"`")) {
			t.Errorf("docs/api.md does not describe `%s`", pattern)
		}
	}
}

// TestDocumentedRoutesExist: a route of docs/api.md is one that the listener has.
func TestDocumentedRoutesExist(t *testing.T) {
	doc, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	routes := regexp.MustCompile("`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`").FindAllSubmatch(doc, -1)
	for _, m := range routes {
		if !slices.Contains(admin.Patterns(), string(m[1])) {
			t.Errorf("docs/api.md describes `%s`, which is no route", m[1])
		}
	}
	if len(routes) < 50 {
		t.Errorf("docs/api.md describes %d routes: is it still read as it is written?", len(routes))
	}
}

// TestGetChangesNothing is D4: no GET writes to the catalog, asks the admission
// or begins a deploy.
func TestGetChangesNothing(t *testing.T) {
	e := start(t, nil)
	before := shared.View().Revision
	for _, c := range access {
		if c.method == "GET" {
			_, _ = e.request("GET", c.path, e.tokens["admin"], "")
		}
	}
	if after := shared.View().Revision; after != before || len(e.adm.all()) > 0 {
		t.Errorf("revision %d became %d, admission did %v", before, after, e.adm.all())
	}
}

// TestBasicReadsOnly: tools made for HAProxy's page send a token as password;
// what a browser may send unasked changes nothing.
func TestBasicReadsOnly(t *testing.T) {
	e := start(t, nil)
	req := httptest.NewRequest("GET", "/", nil)
	req.SetBasicAuth("any", e.tokens["admin"])
	basic := req.Header.Get("Authorization")
	if resp, body := e.request("GET", "/stats;csv", "", "", "Authorization", basic); resp.StatusCode != 200 || !strings.HasPrefix(body, "# pxname,svname,") {
		t.Errorf("csv: %d %.80s", resp.StatusCode, body)
	}
	// Readers of HAProxy's CSV add their own ending to the address that they are given, with its "/" or without.
	for _, path := range []string{"/stats/;csv", "/stats/;csv;norefresh", "/stats;csv;norefresh", "/stats;;csv"} {
		if resp, body := e.request("GET", path, "", "", "Authorization", basic); resp.StatusCode != 200 || !strings.HasPrefix(body, "# pxname,svname,") {
			t.Errorf("%s: %d %.80s", path, resp.StatusCode, body)
		}
	}
	if resp, body := e.request("GET", "/stats/", "", "", "Authorization", basic); resp.StatusCode != 200 || !strings.Contains(body, "<html") {
		t.Errorf("/stats/: %d %.80s", resp.StatusCode, body)
	}
	if resp, _ := e.request("POST", "/v1/members/app-1/drain", "", "", "Authorization", basic); resp.StatusCode != http.StatusForbidden {
		t.Errorf("drain: %d", resp.StatusCode)
	}
}

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
		_, err := catalog.ChangeAccount(tx, "viewer", func(a *catalog.Account) error { a.Disabled = true; return nil })
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

// TestGuessing is D5: wrong tokens and passwords cost a growing pause, from one
// address and against one account, and never show in the log.
func TestGuessing(t *testing.T) {
	e := start(t, nil)
	synctest.Test(t, func(t *testing.T) {
		try := func(addr, token string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "https://127.0.0.1/v1/whoami", nil)
			r.RemoteAddr = addr
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			e.admin.ServeHTTP(w, r)
			return w
		}
		wrong := "abc.super-secret-guess"
		var slowed int
		begun := time.Now()
		for range 200 {
			w := try("192.0.2.7:1000", wrong)
			if w.Code == http.StatusTooManyRequests {
				slowed++
				if w.Header().Get("Retry-After") == "" {
					t.Fatal("no Retry-After")
				}
				time.Sleep(time.Second)
			}
		}
		if slowed < 150 {
			t.Errorf("only %d of 200 guesses were slowed", slowed)
		}
		if guesses := 200 - slowed; guesses > 30 || time.Since(begun) < 100*time.Second {
			t.Errorf("%d guesses in %s", guesses, time.Since(begun))
		}
		// Others may be behind that address: one stale token must not lock them out (D5b).
		if w := try("192.0.2.7:1001", e.tokens["viewer"]); w.Code != http.StatusOK {
			t.Errorf("a right token during the pause: %d", w.Code)
		}
		if w := try("192.0.2.7:1001", wrong); w.Code != http.StatusTooManyRequests {
			t.Errorf("a right token ended the pause of wrong ones: %d", w.Code)
		}
		if w := try("192.0.2.8:1001", e.tokens["viewer"]); w.Code != http.StatusOK {
			t.Errorf("another address: %d", w.Code)
		}
		time.Sleep(time.Minute)
		if w := try("192.0.2.7:1001", e.tokens["viewer"]); w.Code != http.StatusOK {
			t.Errorf("a right token after the pause: %d", w.Code)
		}
	})
	log := e.log.String()
	if strings.Contains(log, "super-secret") || !strings.Contains(log, "token refused") {
		t.Errorf("log: %.500s", log)
	}
	if lines := strings.Count(log, "token refused"); lines > 30 {
		t.Errorf("200 wrong tokens make %d lines in the log", lines)
	}
}

// The pause after six wrong passwords begins with the answer to the last one: a request that itself took longer than
// the pause, as its body came slowly or the machine was busy, left none.
func TestGuessingPasswords(t *testing.T) {
	e := start(t, nil)
	synctest.Test(t, func(t *testing.T) {
		try := func(word string, took time.Duration) *httptest.ResponseRecorder {
			body := fmt.Sprintf(`{"account":"viewer","password":%q}`, word)
			r := httptest.NewRequest(http.MethodPost, "https://127.0.0.1/v1/login", &lateReader{strings.NewReader(body), took})
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			e.admin.ServeHTTP(w, r)
			return w
		}
		for range 6 {
			if w := try("wrong-guess-123", 3*time.Second); w.Code != http.StatusUnauthorized {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		for _, word := range []string{"wrong-guess-123", password} {
			if w := try(word, 0); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "slow_down") {
				t.Fatalf("after six wrong passwords: %d %s", w.Code, w.Body) // a right one would be taken, which writes outside the bubble
			}
		}
	})
	if strings.Contains(e.log.String(), "wrong-guess") {
		t.Error("a password is in the log")
	}
	entries, err := shared.Audit(context.Background(), 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Action == "login" && entry.Failed {
			t.Errorf("wrong guesses fill the audit log: %+v", entry)
		}
	}
}

// lateReader takes its time for each read.
type lateReader struct {
	io.Reader
	took time.Duration
}

func (r *lateReader) Read(b []byte) (int, error) {
	time.Sleep(r.took)
	return r.Reader.Read(b)
}

func TestLoginByAPI(t *testing.T) {
	e := start(t, nil)
	answer, err := e.api("").Login(context.Background(), admin.LoginRequest{Account: "operator", Password: password, Label: "laptop", TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	who, err := e.api(answer.Token).Whoami(context.Background())
	if err != nil || who.Account != "operator" || who.Role != catalog.RoleOperator {
		t.Errorf("%+v %v", who, err)
	}
	if left := time.Until(answer.Expires); left > time.Hour || left < 59*time.Minute {
		t.Errorf("expires in %s", left)
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

// TestBodies is D6: limits on each route that takes a body.
func TestBodies(t *testing.T) {
	e := start(t, nil)
	big := `{"label":"` + strings.Repeat("x", 2<<20) + `"}`
	for path, want := range map[string]int{"/v1/tokens": 413, "/v1/login": 413, "/v1/members/app-1/drain": 413, "/v1/sites/shop": 413} {
		if resp, _ := e.request("POST", path, e.tokens["admin"], big); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if resp, _ := e.request("GET", "/v1/whoami", e.tokens["admin"], "surplus"); resp.StatusCode != 400 {
		t.Errorf("a body where none belongs: %d", resp.StatusCode)
	}
	for _, body := range []string{`{"label":1}`, `{"unknown":true}`, `{} {}`, `{"label":"a"`, `[]`} {
		if resp, _ := e.request("POST", "/v1/tokens", e.tokens["admin"], body); resp.StatusCode != 400 {
			t.Errorf("%s: %d", body, resp.StatusCode)
		}
	}
}

// TestSlowUploads is D6: a thousand uploads that bring nothing leave the API
// answering, and hold no more than their places.
func TestSlowUploads(t *testing.T) {
	e := start(t, nil)
	// Over HTTP/2, where a thousand uploads do not need a thousand connections.
	over := httptest.NewUnstartedServer(e.server.Config.Handler)
	over.EnableHTTP2 = true
	over.StartTLS()
	defer over.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	var closers []*io.PipeWriter
	const each = 125 // of a connection, that has room for twice as many
	var client *http.Client
	for i := range 1000 {
		if i%each == 0 {
			client = &http.Client{Transport: over.Client().Transport.(*http.Transport).Clone()}
			defer client.CloseIdleConnections()
			resp, err := client.Get(over.URL + "/healthz") // or all would connect at once
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		client := client
		r, w := io.Pipe()
		closers = append(closers, w)
		wg.Go(func() {
			req, err := http.NewRequest("PUT", over.URL+"/v1/sites/shop/archive", r)
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+e.tokens["deployer"])
			resp, err := client.Do(req)
			if err != nil {
				return
			}
			_ = resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			statuses[resp.StatusCode]++
		})
	}
	for range 20 {
		if resp, _ := e.request("GET", "/v1/stats", e.tokens["viewer"], ""); resp.StatusCode != 200 {
			t.Fatalf("during slow uploads: %d", resp.StatusCode)
		}
	}
	for _, w := range closers {
		_ = w.Close()
	}
	wg.Wait()
	if statuses[http.StatusServiceUnavailable] == 0 || statuses[http.StatusAccepted] == 0 {
		t.Errorf("answers %v: some should be told to come back", statuses)
	}
}

// TestAudit: each change leaves an entry that says who, from where and what.
func TestAudit(t *testing.T) {
	e := start(t, nil)
	_, _ = e.request("POST", "/v1/members/app-1/drain", e.tokens["operator"], `{"reason":"disk\nreplaced"}`)
	_, _ = e.request("POST", "/v1/members/nobody/drain", e.tokens["operator"], "")
	_, _ = e.request("POST", "/v1/members/app-1/maint?dry_run=1", e.tokens["operator"], "")
	b := e.login("admin")
	if resp, body := b.post("/stats/act", url.Values{"verb": {"accept"}, "member": {"newbie"}, "csrf": {b.csrf}}); resp.StatusCode != 303 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	entries, err := e.api(e.tokens["admin"]).Audit(context.Background(), 4)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range entries {
		got = append(got, a.By+" "+a.Action+" "+a.Object+map[bool]string{true: " failed"}[a.Failed])
		if a.From != "127.0.0.1" || a.At.IsZero() {
			t.Errorf("%+v", a)
		}
	}
	want := "admin accept member newbie|admin login admin|operator drain member nobody failed|operator drain member app-1"
	if strings.Join(got, "|") != want {
		t.Errorf("audit %q, want %q", strings.Join(got, "|"), want)
	}
	if a := e.adm.all(); len(a) != 1 || a[0] != "accept newbie admin" {
		t.Errorf("admission did %v", a)
	}
}
