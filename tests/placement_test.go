package tests

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// Operators say by labels which servers get a site. The others have nothing of it on their disks, a
// change moves the site, and nobody loses a session by it.
func TestSitesArePlacedByLabels(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	code := strings.TrimSpace(p.Must("invite", "--quiet", "--label", "zone-a"))
	a := p.StartAgent("server-a", "--code", code)
	p.WaitMember("server-a", "accepted")
	b := p.StartAgent("server-b")
	p.WaitMember("server-b", "pending")
	p.Must("accept", "server-b", "--label", "zone-b")
	p.WaitMember("server-b", "accepted")
	p.AddServer("server-c")
	if out := p.Must("members"); !strings.Contains(out, "zone-a") || !strings.Contains(out, "zone-b") {
		t.Errorf("members do not show their labels:\n%s", out)
	}

	dir := filepath.Join(t.TempDir(), "shop")
	if err := os.CopyFS(dir, os.DirFS(harness.App("node"))); err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "portico.toml"))
	if err != nil {
		t.Fatal(err)
	}
	place := func(servers string) {
		t.Helper()
		text := "servers = [\"" + servers + "\"]\nenv = { API_KEY = \"only-for-zone-a\" }\n" + string(manifest)
		if err := os.WriteFile(filepath.Join(dir, "portico.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	place("zone-x")
	r := p.CLI("deploy", "shop", dir, "--host", "shop.test")
	if out := r.Stdout + r.Stderr; r.Code != 1 || !strings.Contains(out, `"zone-x"`) || !strings.Contains(out, "portico members label") {
		t.Errorf("a site for servers that are not there: exit code %d\n%s", r.Code, out)
	}
	place("zone-a")
	if out := p.Must("deploy", "shop", dir, "--host", "shop.test"); strings.Contains(out, "server-b") {
		t.Errorf("the deploy speaks of a server that does not get the site:\n%s", out)
	}
	settled(t, p, "shop", 1)
	if found := holding(t, b.Dir, "only-for-zone-a"); found != "" {
		t.Errorf("server-b has the site's settings in %s", found)
	}
	if found := holding(t, a.Dir, "only-for-zone-a"); found == "" {
		t.Error("server-a has no settings of its site, so the test looks in the wrong place")
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "sites", "shop")); err == nil {
		t.Error("server-b has a folder of the site")
	}
	if out := p.Must("explain", "http://shop.test/"); !strings.Contains(out, "zone-a") {
		t.Errorf("explain does not tell where the site is:\n%s", out)
	}

	vs, seen := visitors(t, p.HTTP, "shop.test", "/", 4)
	out := p.Must("sites", "set", "shop", "servers=zone-b", "--dry-run")
	for _, want := range []string{"cuts nothing: 4 sessions", "shop starts on server-b", "shop leaves server-a"} {
		if !strings.Contains(out, want) {
			t.Errorf("the forecast of a move does not say %q:\n%s", want, out)
		}
	}
	p.Must("sites", "set", "shop", "servers=zone-b")
	harness.Eventually(t, 2*time.Minute, func() error {
		_, more := visitors(t, p.HTTP, "shop.test", "/", 1)
		if more[0].Server != "server-b" {
			return errf("a new visitor is on %s", more[0].Server)
		}
		return nil
	})
	stay(t, vs, seen, "/")
	// Both have visitors for a moment, until the old one is ordered to drain.
	harness.Eventually(t, time.Minute, func() error {
		if out := p.Must("export", "haproxy"); !strings.Contains(out, "weight 0") && !strings.Contains(out, "drain") {
			return errf("the export gives new visitors to an instance that leaves:\n%s", out)
		}
		return nil
	})
	p.Must("sites", "set", "shop", "session.idle=3s")
	harness.Eventually(t, 2*time.Minute, func() error {
		if list := p.Must("sites", "show", "shop"); strings.Contains(list, `"server-a"`) {
			return errf("the site is still on server-a:\n%s", list)
		}
		return nil
	})
	harness.Eventually(t, time.Minute, func() error {
		if n := len(harness.Descendants(a.Pid())); n != 0 {
			return errf("%d processes run on server-a, which has no site", n)
		}
		return nil
	})

	// A label moves it as well, and taking the last one says what it does.
	if out := p.Must("members", "label", "server-c", "zone-b"); !strings.Contains(out, "shop starts on server-c") {
		t.Errorf("label says %q", out)
	}
	settled(t, p, "shop", 2)
	p.Must("members", "label", "server-c", "--remove", "zone-b")
	if out := p.Must("members", "label", "server-b", "--remove", "zone-b"); !strings.Contains(out, `site "shop" is for servers = ["zone-b"]`) {
		t.Errorf("nobody hears that a site has no server any more: %q", out)
	}
}

// holding returns a file below dir that has a text, "" where none has.
func holding(t *testing.T, dir, text string) (found string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || found != "" {
			return nil // what has just gone holds nothing
		}
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), text) {
			found = path
		}
		return nil
	})
	return found
}
