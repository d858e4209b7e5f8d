package admin_test

import (
	"flag"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"portico/balancer/figures"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy/admin"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// volatile are the parts of a page that differ between two runs.
var volatile = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`name="csrf" value="[^"]+"`), `name="csrf" value="TOKEN"`},
	{regexp.MustCompile(`<dd title="[^"]+">[^<]+</dd>`), `<dd title="ID">ID</dd>`},
	{regexp.MustCompile(`<dt>Revision</dt><dd>\d+</dd>`), `<dt>Revision</dt><dd>N</dd>`},
	{regexp.MustCompile(`(\d+[smhd])+ ago`), `SOME ago`},
	{regexp.MustCompile(`3h\d\dm`), `3h00m`},
}

func stable(page string) string {
	for _, v := range volatile {
		page = v.re.ReplaceAllString(page, v.with)
	}
	return page
}

// TestPageGolden keeps the whole page as administrators and viewers see it.
func TestPageGolden(t *testing.T) {
	e := start(t, func(o *admin.Options) {
		o.Certificates = func() []api.Certificate {
			return []api.Certificate{{Names: []string{"shop.example.com"}, State: "valid", Issuer: "Test CA"}}
		}
	})
	e.update(func(tx *catalog.Tx) error { // what other tests may have left
		for _, m := range tx.Members() {
			if !strings.Contains(" app-1 app-2 newbie proxy-1 ", " "+m.Name+" ") {
				tx.DeleteMember(m.Name)
			}
		}
		return nil
	})
	for _, account := range []string{"admin", "viewer", "scoped"} {
		_, page := e.login(account).get("/stats")
		path := "testdata/stats-" + account + ".html"
		got := stable(page)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; run go test -update and read the difference", path)
		}
	}
}

// TestPageEscapes is M7 and S2: names made of markup and control bytes stay
// text, on the page, in the question, in metrics and in answers.
func TestPageEscapes(t *testing.T) {
	evil := `"><script>alert(1)</script><img src=x onerror=alert(2)>` + "\x1b[31m\r\n"
	e := start(t, nil)
	e.snap.Pools = append(e.snap.Pools, figures.Pool{
		Name: evil, Status: evil, Policy: sites.Policy(evil), Lost: figures.Causes{evil: 1},
		Upstreams: []figures.Upstream{{ID: evil, Name: evil, Member: evil, Addr: evil, Release: evil, Status: evil, Reason: evil, AdminReason: evil, CheckCode: evil, CheckDetail: evil}},
	})
	e.update(func(tx *catalog.Tx) error {
		if err := tx.PutMember(catalog.Member{Name: "evil", Role: catalog.RoleServer, Admission: catalog.Pending, Addr: evil, Platform: evil, Version: evil, Fingerprint: evil, Runtimes: map[string]string{evil: evil}, Zone: evil, Reason: evil}); err != nil {
			return err
		}
		return tx.PutDeploy(catalog.Deploy{ID: "zevil", Site: evil, Release: evil, State: catalog.DeployFailed, Error: evil, Hint: evil, By: evil, Created: time.Now(),
			Members: map[string]catalog.MemberProgress{evil: {Step: catalog.StepFailed, Detail: evil}}})
	})
	t.Cleanup(func() {
		e.update(func(tx *catalog.Tx) error { tx.DeleteMember("evil"); tx.DeleteDeploy("zevil"); return nil })
	})
	b := e.login("admin")
	for _, path := range []string{
		"/stats", "/stats?fragment=1", "/stats?scope=" + url.QueryEscape(evil), "/stats/confirm?verb=accept&member=evil", "/stats?st=" + url.QueryEscape(evil) + "&m=evil",
		"/stats/confirm?verb=" + url.QueryEscape(evil) + "&member=evil", "/stats/confirm?verb=drain&member=" + url.QueryEscape(evil), "/login?next=" + url.QueryEscape(evil),
	} {
		_, page := b.get(path)
		for _, bad := range []string{"<script>alert", "<img", "onerror=alert(2)>"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s holds %q", path, bad)
			}
		}
	}
	_, metrics := e.request("GET", "/metrics", e.tokens["admin"], "")
	for line := range strings.SplitSeq(metrics, "\n") {
		if strings.ContainsAny(line, "\x1b\r") || strings.HasPrefix(line, "[31m") {
			t.Errorf("metrics line %q", line)
		}
	}
	resp, body := e.request("GET", "/v1/stats", e.tokens["admin"], "")
	if resp.Header.Get("Content-Type") != "application/json" || strings.Contains(body, "<script>") {
		t.Errorf("JSON: %s", resp.Header.Get("Content-Type"))
	}
}

// TestPageNotInstalled: a site whose first deploy runs or has failed is not told as down, and does not make the cluster look ill.
func TestPageNotInstalled(t *testing.T) {
	e := start(t, nil)
	e.snap.Pools = append(e.snap.Pools, figures.Pool{Name: "newcomer", Status: "DOWN"})
	t.Cleanup(func() { e.update(func(tx *catalog.Tx) error { tx.DeleteSite("newcomer"); return nil }) })
	b := e.login("admin")
	for candidate, want := range map[string]string{"": "not installed", digest("c"): "being installed"} {
		e.update(func(tx *catalog.Tx) error {
			return tx.PutSite(catalog.Site{Name: "newcomer", Candidate: candidate, Deploy: "d", Manifest: sites.Settings{Kind: sites.KindStatic, Front: sites.Front{Hosts: []string{"newcomer.example.com"}}}})
		})
		for _, path := range []string{"/stats?scope=newcomer", "/stats/sites/newcomer"} {
			if _, page := b.get(path); !strings.Contains(page, want) || strings.Contains(page, "DOWN") {
				t.Errorf("%s with candidate %q does not say %q, or says DOWN", path, candidate, want)
			}
		}
		if _, page := b.get("/stats"); !strings.Contains(page, `<dt>Sites up</dt><dd class="">2<small>/2</small>`) {
			t.Errorf("with candidate %q: the site counts as one that should be up", candidate)
		}
	}
}

func TestPageOptions(t *testing.T) {
	e := start(t, nil)
	e.snap.Pools[0].Upstreams[1].State, e.snap.Pools[0].Upstreams[1].Status = figures.Down, "DOWN"
	e.snap.Pools[1].Upstreams[0].Admin, e.snap.Pools[1].Upstreams[0].Status = figures.Maint, "MAINT"
	b := e.login("viewer")
	rows := func(path string) int {
		_, page := b.get(path)
		return strings.Count(page, `<td class="l state"`) - strings.Count(page, `<td class="l">application server</td>`) - strings.Count(page, `<td class="l">proxy</td>`)
	}
	for path, want := range map[string]int{"/stats": 4, "/stats;up": 3, "/stats;no-maint": 3, "/stats;up;no-maint": 2, "/stats?scope=sho": 2, "/stats?scope=zzz": 0, "/stats;norefresh": 4} {
		if got := rows(path); got != want {
			t.Errorf("%s: %d rows, want %d", path, got, want)
		}
	}
	if _, page := b.get("/stats"); !strings.Contains(page, `<noscript><meta http-equiv="refresh"`) {
		t.Error("no refresh without a script")
	}
	if _, page := b.get("/stats;norefresh"); strings.Contains(page, "http-equiv") || !strings.Contains(page, `data-refresh=""`) {
		t.Error("norefresh refreshes")
	}
	if resp, _ := b.get("/stats;evil"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown option: %d", resp.StatusCode)
	}
	if resp, body := b.get("/stats;json"); resp.StatusCode != 200 || !strings.HasPrefix(body, "{") {
		t.Errorf("json: %d", resp.StatusCode)
	}
}

// TestPageActs: the way without a script, question and form.
func TestPageActs(t *testing.T) {
	e := start(t, nil)
	b := e.login("operator")
	_, question := b.get("/stats/confirm?verb=maint&member=app-1")
	for _, want := range []string{"Put app-1 into maintenance?", "would cut 80 sessions on 2 instances, 14 used in the last 5 minutes", `name="csrf" value="` + b.csrf} {
		if !strings.Contains(question, want) {
			t.Errorf("the question lacks %q", want)
		}
	}
	resp, _ := b.post("/stats/act", url.Values{"verb": {"maint"}, "member": {"app-1"}, "csrf": {b.csrf}})
	if resp.StatusCode != http.StatusSeeOther || shared.View().Members["app-1"].Admin != catalog.AdminMaint {
		t.Fatalf("%d %s", resp.StatusCode, shared.View().Members["app-1"].Admin)
	}
	if _, page := b.get(resp.Header.Get("Location")); !strings.Contains(page, "app-1 is in maintenance.") {
		t.Error("the page does not say what was done")
	}
	for _, form := range []url.Values{
		{"verb": {"accept"}, "member": {"newbie"}}, {"verb": {"revoke"}, "member": {"app-2"}}, {"verb": {"nonsense"}, "member": {"app-2"}}, {"verb": {"drain"}, "member": {"nobody"}},
	} {
		form.Set("csrf", b.csrf)
		if resp, _ := b.post("/stats/act", form); resp.StatusCode < 400 {
			t.Errorf("%v: %d", form, resp.StatusCode)
		}
	}
	if done := e.adm.all(); len(done) != 0 {
		t.Errorf("an operator did %v", done)
	}
}

func TestReadyz(t *testing.T) {
	why := []string{}
	e := start(t, func(o *admin.Options) { o.Ready = func() []string { return why } })
	if resp, body := e.request("GET", "/readyz", "", ""); resp.StatusCode != 200 || !decode[api.Readiness](t, body).Ready {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	why = []string{"the listener is not bound"}
	if resp, body := e.request("GET", "/readyz", "", ""); resp.StatusCode != 503 || decode[api.Readiness](t, body).Reasons[0] != why[0] {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestPasswords(t *testing.T) {
	h, err := access.HashPassword(password)
	if err != nil || !strings.HasPrefix(h, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%s %v", h, err)
	}
	if ok, err := access.VerifyPassword(h, password); !ok || err != nil {
		t.Error(ok, err)
	}
	if ok, _ := access.VerifyPassword(h, password+"x"); ok {
		t.Error("a wrong password")
	}
	for _, bad := range []string{"", "x", "$argon2id$v=19$m=99999999,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA", strings.Replace(h, "argon2id", "argon2i", 1), h[:40]} {
		if ok, err := access.VerifyPassword(bad, password); ok || err == nil {
			t.Errorf("hash %q is taken", bad)
		}
	}
	for _, short := range []string{"", "short", strings.Repeat("x", 2000)} {
		if _, err := access.HashPassword(short); err == nil {
			t.Errorf("%d bytes are taken", len(short))
		}
	}
}
