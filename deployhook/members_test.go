package deployhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/deployhook/logs"
	"portico/deployhook/reply"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// do makes a request as a member and returns status and body.
func (c *cluster) do(member, method, path, body string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), waitTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Member", member)
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestOnlyAcceptedMembersAreAnswered(t *testing.T) {
	c := newCluster(t)
	d := c.deploy("shop", map[string]string{"index.html": "secret"}, catalog.DeploySucceeded)
	c.accept("web1", "gone")
	c.update(func(tx *catalog.Tx) error {
		m, err := tx.Member("gone")
		if err != nil {
			return err
		}
		m.Admission = catalog.Revoked
		return tx.PutMember(m)
	})
	for _, path := range []string{"GET /v1/agent/wanted", "POST /v1/agent/report", "GET /v1/objects/" + d.Release, "POST /v1/objects/bundle"} {
		method, path, _ := strings.Cut(path, " ")
		for _, who := range []string{"", "gone", "stranger"} {
			if code, body := c.do(who, method, path, "{}"); code != http.StatusForbidden || strings.Contains(body, "secret") {
				t.Errorf("%s %s as %q: %d %s", method, path, who, code, body)
			}
		}
	}
	if code, body := c.do("web1", "GET", "/v1/objects/"+d.Release+"?release="+d.Release, ""); code != 200 || !strings.HasPrefix(body, "portico tree 1") {
		t.Errorf("an accepted member gets %d %s", code, body)
	}
}

func TestWantedAnswersWhenItChanges(t *testing.T) {
	c := newCluster(t)
	c.accept("web1", "web2")
	ask := func(query string) (w messages.Wanted, took time.Duration) {
		t.Helper()
		begin := time.Now()
		code, body := c.do("web1", "GET", "/v1/agent/wanted?"+query, "")
		if code != 200 {
			t.Fatalf("%d %s", code, body)
		}
		if err := json.Unmarshal([]byte(body), &w); err != nil {
			t.Fatal(err)
		}
		return w, time.Since(begin)
	}
	first, took := ask("wait=40s") // who knows nothing yet does not wait
	if took > 20*time.Second {
		t.Errorf("the first answer took %v", took)
	}
	// Something that is not this member's changes: the answer waits.
	done := make(chan messages.Wanted, 1)
	go func() {
		w, _ := ask(fmt.Sprintf("after=%d&wait=40s", first.Revision))
		done <- w
	}()
	c.update(func(tx *catalog.Tx) error {
		return tx.PutAccount(catalog.Account{Name: "bob", Role: catalog.RoleViewer})
	})
	select {
	case w := <-done:
		t.Errorf("a change elsewhere gave an answer: %+v", w)
	case <-time.After(300 * time.Millisecond): // a wrong answer would come within a few
	}
	c.update(func(tx *catalog.Tx) error {
		if err := tx.PutRelease(catalog.Release{Site: "shop", Digest: digest("a")}); err != nil {
			return err
		}
		return tx.PutSite(catalog.Site{Name: "shop", Release: digest("a")})
	})
	select {
	case w := <-done:
		if len(w.Releases) != 1 || w.Revision <= first.Revision {
			t.Errorf("the answer is %+v", w)
		}
		first = w
	case <-time.After(waitTime):
		t.Fatal("the answer did not come")
	}
	// Nothing changes: the answer comes after the wait, with what it is.
	w, took := ask(fmt.Sprintf("after=%d&wait=150ms", first.Revision))
	if took < 100*time.Millisecond || len(w.Releases) != 1 {
		t.Errorf("after %v: %+v", took, w)
	}
	for _, bad := range []string{"after=x", "wait=x", "wait=-1s"} {
		if code, _ := c.do("web1", "GET", "/v1/agent/wanted?"+bad, ""); code != 400 {
			t.Errorf("%s: %d", bad, code)
		}
	}
}

func TestReportsAreChecked(t *testing.T) {
	c := newCluster(t)
	c.accept("web1", "web2")
	instance := func(id, member, site, release string) string {
		return fmt.Sprintf(`{"instances":[{"id":%q,"member":%q,"site":%q,"release":%q,"state":"healthy","started":"2026-01-01T00:00:00Z","progress":{"step":"healthy"}}]}`, id, member, site, release)
	}
	c.update(func(tx *catalog.Tx) error {
		if err := tx.PutRelease(catalog.Release{Site: "shop", Digest: digest("a")}); err != nil {
			return err
		}
		return tx.PutSite(catalog.Site{Name: "shop", Release: digest("a")})
	})
	id := ids.NewInstance()
	for what, r := range map[string]struct {
		body string
		code int
	}{
		"of another member": {instance(id, "web2", "shop", digest("a")), 403},
		"bad id":            {instance("../../x", "web1", "shop", digest("a")), 400},
		"bad site":          {instance(id, "web1", "../x", digest("a")), 400},
		"bad release":       {instance(id, "web1", "shop", "a"), 400},
		"bad port":          {strings.Replace(instance(id, "web1", "shop", digest("a")), `"state"`, `"port":65536,"state"`, 1), 400},
		"no JSON":           {"{", 400},
		"huge":              {`{"version":"` + strings.Repeat("x", 9<<20) + `"}`, 400},
	} {
		if code, body := c.do("web1", "POST", "/v1/agent/report", r.body); code != r.code {
			t.Errorf("%s: %d %s", what, code, body)
		}
	}
	if n := len(c.catalog.View().Instances); n != 0 {
		t.Fatalf("refused reports left %d instances", n)
	}
	if code, body := c.do("web1", "POST", "/v1/agent/report", instance(id, "", "shop", digest("a"))); code != 200 {
		t.Fatal(code, body)
	}
	if code, _ := c.do("web2", "POST", "/v1/agent/report", instance(id, "web2", "shop", digest("a"))); code == 200 {
		t.Error("a member took another's instance over")
	}
	in := c.catalog.View().Instances[id]
	if in == nil || in.Member != "web1" || in.State != catalog.InstanceHealthy {
		t.Fatalf("the instance is %+v", in)
	}
	// The same report again writes nothing.
	revision := c.catalog.View().Revision
	for range 3 {
		c.do("web1", "POST", "/v1/agent/report", instance(id, "web1", "shop", digest("a")))
	}
	if got := c.catalog.View().Revision; got != revision {
		t.Errorf("reports without news moved the revision from %d to %d", revision, got)
	}
	// What is not named any more is gone, and only this member's.
	other := ids.NewInstance()
	c.do("web2", "POST", "/v1/agent/report", instance(other, "web2", "shop", digest("a")))
	c.do("web1", "POST", "/v1/agent/report", `{"instances":[],"version":"2.0.0","runtimes":{"php":"8.3"}}`)
	v := c.catalog.View()
	if v.Instances[id] != nil || v.Instances[other] == nil || v.Members["web1"].Version != "2.0.0" || v.Members["web1"].Runtimes["php"] != "8.3" {
		t.Errorf("instances %v, member %+v", v.Instances, v.Members["web1"])
	}
}

func TestLogsOfAllServers(t *testing.T) {
	agents := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Server") {
		case "web1":
			fmt.Fprintf(w, "%s %s\n\x1b[31mred\x1b[0m\x1b[2J\rweb9 | forged\tök\n%s\n", r.URL.Path, r.URL.RawQuery, strings.Repeat("long ", 40_000))
		case "web2":
			http.NotFound(w, r)
		default:
			http.Error(w, "no", http.StatusInternalServerError)
		}
	}))
	defer agents.Close()
	c := newCluster(t, func(o *deployhook.Options) {
		o.Agent = func(m catalog.Member, service string) (*http.Client, string, error) {
			if service != "agent" {
				return nil, "", fmt.Errorf("service %q", service)
			}
			return &http.Client{Transport: asPeer{"Server", m.Name, agents.Client().Transport}}, agents.URL, nil
		}
	})
	c.accept("web1", "web2", "web3")
	c.update(func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "shop"}) })
	var b bytes.Buffer
	if err := c.Logs(t.Context(), &b, logs.Query{Site: "shop", Lines: 5}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, line := range lines { // each begins with a time, of now where the agent told none
		at, rest, _ := strings.Cut(line, " ")
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			t.Errorf("%q has no time: %v", line, err)
		}
		lines[i] = rest
	}
	for _, want := range []string{"web1 | /v1/logs/shop lines=5", "web1 | \x1b[31mred\x1b[0m\ufffd[2J\ufffdweb9 | forged\tök", "web3 | portico: its log cannot be read: it answers 500 Internal Server Error"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the log lacks %q: %.300q", want, lines)
		}
	}
	if len(lines) != 4 || len(b.String()) > 100_000 {
		t.Errorf("%d lines with %d bytes", len(lines), b.Len())
	}
	if strings.Contains(b.String(), "web2") {
		t.Error("a server without the site has a line")
	}
	b.Reset()
	if err := c.Logs(t.Context(), &b, logs.Query{Site: "shop", Member: "web2"}); err != nil || b.Len() != 0 {
		t.Errorf("one member: %q, %v", b.String(), err)
	}
	for _, q := range []logs.Query{{Site: "nosuch"}, {Site: "shop", Member: "nosuch"}} {
		if err := c.Logs(t.Context(), &b, q); err == nil || reply.RefusalOf(err).Status != 404 {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestRollbackFindsItsRelease(t *testing.T) {
	c := newCluster(t)
	one := c.deploy("shop", map[string]string{"a": "1"}, catalog.DeploySucceeded)
	if _, err := c.Rollback(t.Context(), "shop", "", false, "ann"); err == nil {
		t.Error("rolled back to nothing")
	}
	two := c.deploy("shop", map[string]string{"a": "2"}, catalog.DeploySucceeded)
	c.deploy("shop", map[string]string{"a": "3"}, catalog.DeploySucceeded)
	for text, status := range map[string]int{one.Release[:5]: 400, "ffffffffff": 404, c.site("shop").Release: 409} {
		if _, err := c.Rollback(t.Context(), "shop", text, false, "ann"); err == nil || reply.RefusalOf(err).Status != status {
			t.Errorf("%q: %v, want %d", text, err, status)
		}
	}
	if _, err := c.Rollback(t.Context(), "nosuch", "", false, "ann"); err == nil || reply.RefusalOf(err).Status != 404 {
		t.Errorf("an unknown site: %v", err)
	}
	d, err := c.Rollback(t.Context(), "shop", one.Release[:8], false, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if d = c.ended(d.ID, catalog.DeploySucceeded); d.Release != one.Release || c.site("shop").Release != one.Release {
		t.Errorf("rolled back to %s", d.Release)
	}
	if c.catalog.View().Releases["shop"][two.Release] == nil {
		t.Error("a release in between was forgotten")
	}
}

func TestCollectKeepsWhatReleasesNeed(t *testing.T) {
	c := newCluster(t, func(o *deployhook.Options) { o.SetGrace(time.Nanosecond) })
	d := c.deploy("shop", map[string]string{"a": "1", "b": "2"}, catalog.DeploySucceeded)
	if _, _, err := c.objects.Put(strings.NewReader("nobody needs this")); err != nil {
		t.Fatal(err)
	}
	n, freed, err := c.Collect(t.Context())
	if err != nil || n != 1 || freed != 17 {
		t.Errorf("collected %d objects with %d bytes, %v", n, freed, err)
	}
	if got := c.treeOf(d.Release); len(got) != 2 {
		t.Errorf("the release holds %v", got)
	}
	if err := c.Remove(t.Context(), "shop", "ann"); err != nil {
		t.Fatal(err)
	}
	if n, _, err = c.Collect(t.Context()); err != nil || n != 3 {
		t.Errorf("after removal: %d objects, %v", n, err)
	}
}
