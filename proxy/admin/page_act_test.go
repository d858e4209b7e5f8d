package admin_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/membership/catalog"
	"portico/proxy/admin"
	"portico/proxy/admin/api"
)

// TestPageForecastsAreTheAPIs: the question of every button shows the numbers of the API's dry run.
func TestPageForecastsAreTheAPIs(t *testing.T) {
	e := start(t, nil)
	b := e.login("admin")
	a, now := digest("a"), digest("b")
	e.snap.Pools[0].Upstreams[1].Release, e.snap.Pools[0].Upstreams[1].Retiring = a, true
	e.instances(t)
	for _, tt := range []struct{ page, method, api, body string }{
		{"verb=drain&member=app-1", "POST", "/v1/members/app-1/drain", ""},
		{"verb=maint&member=app-1", "POST", "/v1/members/app-1/maint", ""},
		{"verb=revoke&member=app-1", "POST", "/v1/members/app-1/revoke", ""},
		{"verb=remove&site=shop", "DELETE", "/v1/sites/shop", ""},
		{"verb=deploy&site=shop", "GET", "/v1/sites/shop/forecast", ""},
		{"verb=rollback&site=shop&release=" + a, "POST", "/v1/sites/shop/rollback", `{"release":"aaaaaa"}`},
		{"verb=drain&site=shop&release=" + a, "POST", "/v1/sites/shop/releases/aaaaaa/drain", ""},
		{"verb=cut&site=shop&release=" + a, "POST", "/v1/sites/shop/releases/aaaaaa/drain", `{"now":true}`},
		{"verb=drain&site=shop&instance=" + instance, "POST", "/v1/sites/shop/instances/abcd/drain", ""},
		{"verb=maint&site=shop&instance=" + instance, "POST", "/v1/sites/shop/instances/abcd/maint", ""},
	} {
		resp, body := e.request(tt.method, tt.api+"?dry_run=1", e.tokens["admin"], tt.body)
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", tt.api, resp.StatusCode, body)
			continue
		}
		f := decode[api.Forecast](t, body)
		resp, question := b.get("/stats/confirm?" + tt.page)
		for _, want := range []string{
			f.Message, fmt.Sprintf("<dt>Sessions cut</dt><dd>%d</dd>", f.Sessions), fmt.Sprintf("<dt>Sessions that stay</dt><dd>%d</dd>", f.Keeps),
			fmt.Sprintf("<dt>Requests running now</dt><dd>%d</dd>", f.InFlight),
		} {
			if resp.StatusCode != 200 || !strings.Contains(question, want) {
				t.Errorf("%s: %d, the question lacks %q", tt.page, resp.StatusCode, want)
			}
		}
		left := fmt.Sprintf("<dt>Instances left for new visitors</dt><dd>%d</dd>", f.Left)
		if replaces := f.Action == "deploy" || f.Action == "rollback"; strings.Contains(question, left) == replaces {
			t.Errorf("%s: what is left for new visitors", tt.page)
		}
		for _, note := range f.Notes {
			if !strings.Contains(question, note) {
				t.Errorf("%s: the question lacks the note %q", tt.page, note)
			}
		}
	}
	_, body := e.request("POST", "/v1/sites/shop/rollback?dry_run=1", e.tokens["admin"], `{"no_pin":true}`)
	if f := decode[api.Forecast](t, body); f.Sessions != 40 || f.Keeps != 0 {
		t.Errorf("a rollback without pins: %+v", f)
	} else if _, question := b.get("/stats/confirm?verb=rollback&site=shop&release=" + a); !strings.Contains(question, f.Message) || !strings.Contains(question, `name="no_pin"`) {
		t.Error("the question does not offer to keep no sessions, with the number")
	}
	if resp, _ := b.get("/stats/confirm?verb=rollback&site=shop&release=" + now); resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}

// instance is the id of the one that instances records.
const instance = "abcdefghijklmnopqrstuvwxyz"

// instances are records of what the snapshot shows.
func (e *env) instances(t *testing.T) {
	t.Helper()
	e.snap.Pools[0].Upstreams[0].ID = instance
	e.update(func(tx *catalog.Tx) error {
		return tx.PutInstance(catalog.Instance{ID: instance, Site: "shop", Member: "app-1", Release: digest("b"), State: catalog.InstanceHealthy, Admin: catalog.AdminReady})
	})
	t.Cleanup(func() { e.update(func(tx *catalog.Tx) error { tx.DeleteInstance(instance); return nil }) })
}

// TestPageActsOnSites: every button of a site does what it says, once, as the API does, and leaves its entry in the audit.
func TestPageActsOnSites(t *testing.T) {
	var bal *balancer.Balancer
	e := start(t, func(o *admin.Options) { bal = o.Balancer })
	e.instances(t)
	b := e.login("admin")
	now := time.Now().UnixMilli()
	var c balancer.Choice
	bal.Pool("shop").Pick(&c, &balancer.Request{Now: now})
	bal.Pool("shop").Done(&c, balancer.Outcome{Now: now, Status: 200})
	session := fmt.Sprintf("%016x", c.Session)

	_, page := b.get("/stats/sites/shop")
	for _, want := range []string{"What went wrong lately", "1123456789abcdef", session, "verb=rollback", "verb=remove", "verb=drain&amp;site=shop&amp;instance=" + instance, "verb=end&amp;site=shop&amp;session=" + session} {
		if !strings.Contains(page, want) {
			t.Errorf("the site's page lacks %q", want)
		}
	}
	if _, found := b.get("/stats/sites/shop?find=" + session[:6]); !strings.Contains(found, session) {
		t.Error("the session is not found by the beginning of its id")
	}
	if _, found := b.get("/stats/sites/shop?find=" + url.QueryEscape(string(bal.Pool("shop").AppendCookie(nil, &c)))); !strings.Contains(found, session) {
		t.Error("the session is not found by its cookie")
	}
	if _, found := b.get("/stats/sites/shop?find=nonsense"); strings.Contains(found, session) {
		t.Error("nonsense finds a session")
	}

	act := func(form url.Values, said string) {
		t.Helper()
		form.Set("csrf", b.csrf)
		form.Set("back", "/stats/sites/shop")
		resp, body := b.post("/stats/act", form)
		if resp.StatusCode != http.StatusSeeOther {
			t.Errorf("%v: %d %.300s", form, resp.StatusCode, body)
			return
		}
		if _, page := b.get(resp.Header.Get("Location")); !strings.Contains(page, said) {
			t.Errorf("%v leads to %s, which does not say %q", form, resp.Header.Get("Location"), said)
		}
	}
	act(url.Values{"verb": {"move"}, "site": {"shop"}, "session": {session}}, "session "+session+" of shop moves with its next request.")
	act(url.Values{"verb": {"end"}, "site": {"shop"}, "session": {session}}, "session "+session+" of shop has ended.")
	if in, _ := bal.Sessions().Find(c.Session); !in.Ended || !in.Moving {
		t.Errorf("%+v", in)
	}
	act(url.Values{"verb": {"rollback"}, "site": {"shop"}, "release": {digest("a")}, "no_pin": {"1"}}, "The rollback to shop@aaaaaaaaaa has begun.")
	act(url.Values{"verb": {"cancel"}, "site": {"shop"}}, "The deploy of shop was cancelled.")
	act(url.Values{"verb": {"maint"}, "site": {"shop"}, "instance": {instance}}, "shop/"+instance+" is in maintenance.")
	if got := shared.View().Instances[instance].Admin; got != catalog.AdminMaint {
		t.Errorf("the instance is in %q", got)
	}
	act(url.Values{"verb": {"ready"}, "site": {"shop"}, "instance": {instance}}, "shop/"+instance+" takes new visitors again.")
	act(url.Values{"verb": {"remove"}, "site": {"shop"}}, "shop was removed.")
	want := []string{"rollback shop aaaaaa true admin", "cancel shop admin", "remove shop admin"}
	if fmt.Sprint(e.dep.done) != fmt.Sprint(want) {
		t.Errorf("done %q, want %q", e.dep.done, want)
	}
	_, audit := e.request("GET", "/v1/audit?limit=20", e.tokens["admin"], "")
	for _, action := range []string{"move session", "end session", "rollback release", "cancel site", "maint instance", "remove site"} {
		if !strings.Contains(audit, `"`+action+`"`) {
			t.Errorf("the audit lacks %q", action)
		}
	}
}

// TestPageSiteRights: who may not, is refused by the question and by the act, whatever the form says.
func TestPageSiteRights(t *testing.T) {
	e := start(t, nil)
	for _, account := range []string{"viewer", "scoped"} {
		b := e.login(account)
		for _, form := range []url.Values{
			{"verb": {"remove"}, "site": {"shop"}}, {"verb": {"end"}, "site": {"shop"}, "session": {"0123456789abcdef"}}, {"verb": {"rollback"}, "site": {"blog"}, "release": {digest("a")}},
			{"verb": {"drain"}, "member": {"app-1"}}, {"verb": {"nonsense"}, "site": {"shop"}}, {"verb": {"cancel"}, "site": {"../x"}},
		} {
			form.Set("csrf", b.csrf)
			if resp, _ := b.post("/stats/act", form); resp.StatusCode < 400 {
				t.Errorf("%s: %v: %d", account, form, resp.StatusCode)
			}
		}
	}
	if len(e.dep.done) != 0 {
		t.Errorf("done %q", e.dep.done)
	}
	admin := e.login("admin")
	e.instances(t)
	for _, target := range []url.Values{ // half a target, or one whose halves do not belong together
		{"verb": {"rollback"}, "release": {digest("a")}}, {"verb": {"cut"}, "release": {digest("a")}}, {"verb": {"end"}, "session": {"0123456789abcdef"}},
		{"verb": {"maint"}, "instance": {instance}}, {"verb": {"maint"}, "site": {"blog"}, "instance": {instance}},
	} {
		if resp, _ := admin.get("/stats/confirm?" + target.Encode()); resp.StatusCode != http.StatusNotFound {
			t.Errorf("the question of %v: %d", target, resp.StatusCode)
		}
		target.Set("csrf", admin.csrf)
		if resp, _ := admin.post("/stats/act", target); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%v: %d", target, resp.StatusCode)
		}
	}
	b := e.login("scoped")
	if _, page := b.get("/stats/sites/shop"); strings.Contains(page, "verb=remove") || !strings.Contains(page, "verb=deploy") {
		t.Error("a deployer sees the wrong buttons")
	}
	for _, evil := range []string{"?st=remove&site=all+is+lost", "?st=drain&site=shop&instance=%22%3E%3Cscript%3Ealert(1)", "?st=end&site=shop&session=you+have+won", "?st=deploy"} {
		if _, page := b.get("/stats" + evil); strings.Contains(page, "role=\"status\"") || strings.Contains(page, "<script>alert") {
			t.Errorf("%s puts words on the page", evil)
		}
	}
}

// upload sends the page's form with an archive.
func (b *browser) upload(fields [][2]string, name string, content []byte) (*http.Response, string) {
	b.e.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, f := range fields {
		_ = w.WriteField(f[0], f[1])
	}
	part, err := w.CreateFormFile("archive", name)
	if err != nil {
		b.e.t.Fatal(err)
	}
	_, _ = part.Write(content)
	_ = w.Close()
	return b.e.requestBy(b.Client, "POST", "/stats/deploy", "", body.String(), "Content-Type", w.FormDataContentType(),
		"Origin", b.e.server.URL, "Sec-Fetch-Site", "same-origin", "Accept", "text/html")
}

// TestPageDeploys: the form hands the archive on as it comes, with its options, and nothing without the token.
func TestPageDeploys(t *testing.T) {
	var got struct{ path, query, by, body string }
	e := start(t, func(o *admin.Options) {
		o.Archive = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var b bytes.Buffer
			_, _ = b.ReadFrom(r.Body)
			got.path, got.query, got.by, got.body = r.PathValue("site"), r.URL.RawQuery, admin.ActorFrom(r.Context()).Account, b.String()
			if b.String() == "refuse" {
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, _ = w.Write([]byte(`{"error":{"code":"archive_refused","message":"that is no archive","hint":"pack it again"}}`))
				return
			}
			w.WriteHeader(http.StatusAccepted)
		})
	})
	b := e.login("admin")
	resp, _ := b.upload([][2]string{{"csrf", b.csrf}, {"site", "shop"}, {"no_pin", "1"}, {"back", "/stats/sites/shop"}}, "shop.zip", []byte("PK..."))
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/stats/sites/shop?") || got.path != "shop" || got.body != "PK..." || got.by != "admin" || got.query != "name=shop.zip&no_pin=1" {
		t.Errorf("%d %s %+v", resp.StatusCode, resp.Header.Get("Location"), got)
	}
	if resp, page := b.upload([][2]string{{"csrf", b.csrf}, {"site", "shop"}}, "shop.zip", []byte("refuse")); resp.StatusCode != 422 || !strings.Contains(page, "that is no archive") || !strings.Contains(page, "pack it again") {
		t.Errorf("a refused archive: %d %.400s", resp.StatusCode, page)
	}
	got.path = ""
	for _, fields := range [][][2]string{{{"site", "shop"}}, {{"csrf", "wrong"}, {"site", "shop"}}, {{"csrf", b.csrf}, {"site", "../x"}}, {{"csrf", b.csrf}}} {
		if resp, _ := b.upload(fields, "shop.zip", []byte("PK...")); resp.StatusCode < 400 || got.path != "" {
			t.Errorf("%v: %d", fields, resp.StatusCode)
		}
	}
	scoped := e.login("scoped")
	if resp, _ := scoped.upload([][2]string{{"csrf", scoped.csrf}, {"site", "blog"}}, "blog.zip", []byte("PK...")); resp.StatusCode != 403 || got.path != "" {
		t.Errorf("another's site: %d", resp.StatusCode)
	}
}
