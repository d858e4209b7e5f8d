package admin_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"portico/proxy/admin"
	"portico/proxy/admin/access"
)

// routeAccess is what each account gets from each route: the table of permissions,
// written down a second time so that a change of the first one is seen. "-"
// stands for nobody's, the letters for viewer, scoped, deployer, operator and
// admin.
var routeAccess = []struct {
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
	for _, c := range routeAccess {
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

// Each permission is of a route, as each route has a permission, which routes() looks for.
func TestPermissionsAreOfRoutes(t *testing.T) {
	served := admin.Patterns()
	for _, p := range access.Permissions() {
		if !slices.Contains(served, p.Pattern) {
			t.Errorf("access.Permissions says who may use %q, which nothing answers", p.Pattern)
		}
	}
	if n := len(access.Permissions()); n != len(served) {
		t.Errorf("%d permissions for %d routes", n, len(served))
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
	for _, c := range routeAccess {
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
