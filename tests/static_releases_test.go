package tests

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// TestStaticSitePinsAssets: nobody gets an old page with a new script. Who got a page of the former release gets its
// script, under the same name too; a request without the cookie finds what only that release has, until it ends.
func TestStaticSitePinsAssets(t *testing.T) {
	p := harness.StartProxy(t)
	one1, two2 := p.AddServer("server-1"), p.AddServer("server-2")
	release := func(n string) string {
		dir := t.TempDir()
		write(t, dir, "index.html", `<script src="app.`+n+`.js"></script><script src="app.js"></script>`)
		write(t, dir, "app."+n+".js", "release "+n)
		write(t, dir, "app.js", "release "+n)
		write(t, dir, "only"+n+".html", "page "+n)
		return dir
	}
	one, two := release("1"), release("2")
	p.Must("deploy", "docs", one, "--host", "docs.test")
	settled(t, p, "docs", 2)
	old := make([]*harness.Visitor, 6)
	for i := range old {
		old[i] = harness.NewVisitor(t, p.HTTP, "docs.test")
		if _, _, err := visitOK(old[i], "/"); err != nil {
			t.Fatal(err)
		}
	}
	p.Must("deploy", "docs", two, "--host", "docs.test")
	settled(t, p, "docs", 2)
	read := func(v *harness.Visitor, path string, header ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://docs.test"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := v.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for i, v := range old {
		for _, path := range []string{"/app.1.js", "/app.js"} {
			if code, body := read(v, path); code != 200 || body != "release 1" {
				t.Errorf("visitor %d of the former release gets %d %q for %s", i, code, body, path)
			}
		}
	}
	for range 6 { // on whichever server
		fresh := harness.NewVisitor(t, p.HTTP, "docs.test")
		if code, body := read(fresh, "/app.js"); code != 200 || body != "release 2" {
			t.Errorf("a new visitor gets %d %q", code, body)
		}
		bare := harness.NewVisitor(t, p.HTTP, "docs.test")
		if code, body := read(bare, "/app.1.js", "Sec-Fetch-Dest", "script"); code != 200 || body != "release 1" {
			t.Errorf("a kept page's script without a cookie: %d %q", code, body)
		}
		if code, _ := read(bare, "/only1.html"); code != 404 {
			t.Errorf("a page of the former release: %d", code)
		}
	}
	// A server gives nobody the files of a release before it has heard that the deploy has succeeded.
	harness.Eventually(t, 10*time.Second, func() error {
		if code, body := read(old[0], "/app.2.js"); code != 200 || body != "release 2" {
			return fmt.Errorf("a visitor of the former release asks for a script of the present one: %d %q", code, body)
		}
		return nil
	})
	resp, _, err := visitOK(old[0], "/")
	if err != nil {
		t.Fatal(err)
	}
	if got := conditional(t, harness.NewVisitor(t, p.HTTP, "docs.test"), "/", "If-None-Match", resp.Header.Get("ETag")); got.StatusCode != 200 {
		t.Errorf("the former release's page is taken for unchanged: %s", got.Status)
	}
	// Visits are counted, and said to hold nothing.
	if out := p.Must("sessions", "docs"); !strings.Contains(out, " of them on static sites, where any other server goes on with them: no drain waits for those\n") {
		t.Errorf("portico sessions says\n%s", out)
	}
	if out := p.Must("maint", "server-1", "--dry-run"); !strings.Contains(out, "cuts no session") || !strings.Contains(out, "of static sites there go on elsewhere") {
		t.Errorf("maint would say %q", out)
	}
	// A server that joins now fetches what visits still use: the others can go.
	p.AddServer("server-3")
	harness.Eventually(t, 30*time.Second, func() error {
		var counts []api.SessionCount
		p.JSON(&counts, "sessions", "docs", "--json")
		late := slices.DeleteFunc(slices.Clone(counts), func(n api.SessionCount) bool {
			return n.Member != "server-3" || n.State != "UP" && !strings.HasPrefix(n.State, "DRAIN")
		})
		if len(late) != 2 {
			return errf("the late server does not have both releases: %+v", counts)
		}
		return nil
	})
	one1.KillWithSites()
	two2.KillWithSites()
	settled(t, p, "docs", 1)
	for i, v := range old {
		for _, path := range []string{"/app.1.js", "/app.js"} {
			if code, body := read(v, path); code != 200 || body != "release 1" {
				t.Errorf("visitor %d of the former release gets %d %q for %s of the late server", i, code, body, path)
			}
		}
	}
	bare := harness.NewVisitor(t, p.HTTP, "docs.test")
	if code, body := read(bare, "/app.1.js", "Sec-Fetch-Dest", "script"); code != 200 || body != "release 1" {
		t.Errorf("a kept page's script without a cookie from the late server: %d %q", code, body)
	}
	one1.Restart()
	two2.Restart()
	settled(t, p, "docs", 3)

	p.Must("rollback", "docs", "--no-pin", "--yes")
	settled(t, p, "docs", 3)
	fresh := harness.NewVisitor(t, p.HTTP, "docs.test")
	if code, body := read(fresh, "/app.js"); code != 200 || body != "release 1" {
		t.Errorf("after the rollback a new visitor gets %d %q", code, body)
	}
}
