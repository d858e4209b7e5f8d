package tests

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// One cluster carries a PHP, a Node and a broken application: three
// application servers, sessions in the servers' own memory or files.
func TestInstallOnceAppearsEverywhere(t *testing.T) {
	t.Parallel()
	harness.Need(t, "php")
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	for _, name := range []string{"server-1", "server-2", "server-3"} {
		p.AddServer(name)
	}
	for _, site := range []string{"php", "node"} {
		t.Run(site, func(t *testing.T) { installOnce(t, p, site) })
	}
	t.Run("broken release", func(t *testing.T) { brokenRelease(t, p) })
	t.Run("rollback", func(t *testing.T) { rollback(t, p) })
	t.Run("rollback under load", func(t *testing.T) { rollbackUnderLoad(t, p) })
	t.Run("other settings", func(t *testing.T) { otherSettings(t, p) })
	t.Run("the documents' PHP", func(t *testing.T) { documentedPHP(t, p) })
	t.Run("late server", func(t *testing.T) { lateServer(t, p) })
	t.Run("logs and removal", func(t *testing.T) { logsAndRemoval(t, p) })
}

func installOnce(t *testing.T, p *harness.Proxy, site string) {
	out := p.Must("deploy", site, harness.App(site), "--host", site+".test")
	for _, want := range []string{"server-1", "server-2", "server-3", "in rotation"} {
		if !strings.Contains(out, want) {
			t.Errorf("the progress does not mention %q:\n%s", want, out)
		}
	}
	vs, seen := visitors(t, p.HTTP, site+".test", "/", 30)
	if len(spread(seen)) != 3 {
		t.Errorf("30 visitors are on %v", spread(seen))
	}
	for range 3 {
		stay(t, vs, seen, "/")
	}
}

// A release that never gets healthy is reported with the reason, and the one
// before keeps serving.
func brokenRelease(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 6)
	r := p.CLI("deploy", "node", harness.App("broken"), "--host", "node.test")
	if r.Code != 1 {
		t.Fatalf("a broken release exits with %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	for _, want := range []string{"500", "cannot reach the database", "password authentication failed"} {
		if !strings.Contains(r.Stdout+r.Stderr, want) {
			t.Errorf("the report does not show %q:\n%s%s", want, r.Stdout, r.Stderr)
		}
	}
	for _, once := range []string{"status 500 is not among those", "last check", "answer: cannot reach the database"} {
		if n := strings.Count(r.Stdout+r.Stderr, once); n != 1 {
			t.Errorf("one trouble of three servers is told %d times (%q):\n%s%s", n, once, r.Stdout, r.Stderr)
		}
	}
	stay(t, vs, seen, "/")
}

// A second release takes new visitors, the first keeps its own; rollback is
// the same in reverse.
func rollback(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 6)
	first := seen[0].Release
	next := changed(t, harness.App("node"), "server.js", "// the next release\n")
	p.Must("deploy", "node", next, "--host", "node.test")
	stay(t, vs, seen, "/")
	_, fresh := visitors(t, p.HTTP, "node.test", "/", 6)
	for _, v := range fresh {
		if v.Release == first {
			t.Errorf("a new visitor is on the former release: %+v", v)
		}
	}

	var list []api.ReleaseInfo
	p.JSON(&list, "releases", "node", "--json")
	if len(list) < 2 {
		t.Errorf("two releases were installed, %d are listed", len(list))
	}
	p.Must("rollback", "node")
	_, again := visitors(t, p.HTTP, "node.test", "/", 6)
	for _, v := range again {
		if v.Release != first {
			t.Errorf("after the rollback a new visitor is on %s, want %s", v.Release, first)
		}
	}
	stay(t, vs, seen, "/")
}

// Other settings of the process come with new processes beside the old ones, which keep their
// visitors. Where those do not come up nothing is changed; a crash changes nothing either, and a rollback
// goes back to the settings before.
func otherSettings(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 6)
	said := p.CLI("sites", "set", "node", "env.SETTING=one")
	for _, want := range []string{"server-1: in rotation", "runs with these settings on 3 application servers"} {
		if said.Code != 0 || !strings.Contains(said.Stderr, want) {
			t.Fatalf("exit %d without %q:\n%s%s", said.Code, want, said.Stdout, said.Stderr)
		}
	}
	var override struct{ Env map[string]string }
	decode(t, said.Stdout, &override)
	if override.Env["SETTING"] != sites.Hidden {
		t.Errorf("operators have set %+v", override)
	}
	stay(t, vs, seen, "/")
	for _, v := range seen {
		if v.Setting != "" {
			t.Errorf("a process got another setting while it ran: %+v", v)
		}
	}
	with := func(setting string) {
		t.Helper()
		_, fresh := visitors(t, p.HTTP, "node.test", "/", 6)
		for _, v := range fresh {
			if v.Setting != setting {
				t.Errorf("a new visitor has %+v, want %q", v, setting)
			}
		}
	}
	with("one")
	unlucky := harness.NewVisitor(t, p.HTTP, "node.test")
	at := unlucky.Get("/").Server
	_, _, _ = unlucky.Do(http.MethodGet, "/crash", nil)
	harness.Eventually(t, time.Minute, func() error {
		v, err := harness.NewVisitor(t, p.HTTP, "node.test").Try("/")
		if err != nil || v.Server == at && v.Setting == "one" {
			return err
		}
		return errf("no new visitor is on %s: %+v", at, v)
	})

	failed := p.CLI("sites", "set", "node", "run=node,missing.js", "policy=first")
	if failed.Code != 1 || !strings.Contains(failed.Stderr, "missing.js") {
		t.Errorf("processes that do not start: exit %d\n%s%s", failed.Code, failed.Stdout, failed.Stderr)
	}
	if shown := p.Must("sites", "show", "node"); strings.Contains(shown, "missing.js") || strings.Contains(shown, `"policy": "first"`) {
		t.Errorf("settings that failed are kept:\n%s", shown)
	}
	with("one")
	p.Must("rollback", "node")
	with("")
	stay(t, vs, seen, "/")
	if !strings.Contains(p.Log(), `msg="instance changed state" part=proxy site=node instance=`) {
		t.Error("the log of an instance's state does not name its site")
	}
	if again := p.Must("deploy", "node", harness.App("node"), "--host", "node.test"); !strings.Contains(again, "runs already") {
		t.Errorf("the files that run, with the settings that they have:\n%s", again)
	}
}

// The portico.toml that joining.md has for PHP keeps sessions, whichever of its workers answers.
func documentedPHP(t *testing.T, p *harness.Proxy) {
	doc, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "joining.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "## PHP")
	var manifest strings.Builder
	for line := range strings.Lines(rest) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			manifest.WriteString(text)
		} else if manifest.Len() > 0 {
			break
		}
	}
	dir := harness.TempDir(t)
	if err := os.CopyFS(dir, os.DirFS(harness.App("php"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "portico.toml"), []byte(manifest.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Must("deploy", "documented", dir, "--host", "documented.test")
	vs, seen := visitors(t, p.HTTP, "documented.test", "/", 4)
	for range 4 { // of eight workers, none of whom keeps anything in memory
		stay(t, vs, seen, "/")
	}
	p.Must("remove", "documented", "--yes")
}

// A release that is healthy and still no good is taken back while visitors come and
// go: those of the release before notice nothing, and after the rollback nobody gets
// the bad one any more (D11).
func rollbackUnderLoad(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 12)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, v := range vs {
		wg.Go(func() {
			for n := seen[i].Views + 1; ; n++ {
				visit, err := v.Try("/")
				if err != nil || visit.Server != seen[i].Server || visit.Release != seen[i].Release || visit.Views != n {
					t.Errorf("visitor %d of %+v got %+v, %v; want view %d", i, seen[i], visit, err, n)
					return
				}
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	fresh := func() int {
		resp, _, err := harness.NewVisitor(t, p.HTTP, "node.test").Do(http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	bad := changed(t, harness.App("node"), "server.js", `
server.removeAllListeners('request');
server.on('request', (req, res) => {
  if (req.url !== '/healthz') res.statusCode = 500;
  res.end('broken');
});
`)
	p.Must("deploy", "node", bad, "--host", "node.test")
	if code := fresh(); code != http.StatusInternalServerError {
		t.Errorf("a new visitor of the broken release gets %d", code)
	}
	p.Must("rollback", "node")
	for range 20 {
		if code := fresh(); code != http.StatusOK {
			t.Errorf("after the rollback a new visitor gets %d", code)
		}
	}
	close(stop)
	wg.Wait()
}

func lateServer(t *testing.T, p *harness.Proxy) {
	p.AddServer("server-4")
	settled(t, p, "php", 4)
	settled(t, p, "node", 4)
	_, seen := visitors(t, p.HTTP, "php.test", "/", 60)
	if spread(seen)["server-4"] == 0 {
		t.Errorf("60 visitors, none on the late server: %v", spread(seen))
	}
}

func logsAndRemoval(t *testing.T, p *harness.Proxy) {
	if out := p.Must("logs", "php"); !strings.Contains(out, "server-1") || !strings.Contains(out, "Accepted") {
		t.Errorf("the logs of php show no request of server-1:\n%.2000s", out)
	}
	var site api.SiteInfo
	p.JSON(&site, "sites", "show", "php")
	last := map[string]bool{}
	for line := range strings.Lines(p.Must("logs", "php", "--tail", "1", "--since", "1h", "--release", site.Release[:8], "--json")) {
		var l messages.LogLine
		decode(t, line, &l)
		if last[l.Member] || l.Release != site.Release || l.Instance == "" || time.Since(l.At) > time.Hour {
			t.Errorf("a line of php is %+v", l)
		}
		last[l.Member] = true
	}
	if len(last) != 4 {
		t.Errorf("the last lines of four servers are of %v", last)
	}
	if out := p.Must("logs", "php", "--since", "2099-01-01T00:00:00Z"); out != "" {
		t.Errorf("logs of the future print %.300s", out)
	}
	for flag, nosuch := range map[string]string{"--instance": "nosuch", "--release": "0000000"} {
		if r := p.CLI("logs", "php", flag, nosuch); r.Code != 1 || r.Stdout != "" || !strings.Contains(r.Stderr, nosuch) {
			t.Errorf("logs with %s %s: exit %d\n%s%s", flag, nosuch, r.Code, r.Stdout, r.Stderr)
		}
	}
	p.Must("remove", "php", "--yes")
	v := harness.NewVisitor(t, p.HTTP, "php.test")
	if resp, _, err := v.Do(http.MethodGet, "/", nil); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("a removed site answers %v %v", resp, err)
	}
	if r := p.CLI("releases", "php"); r.Code != 1 || !strings.Contains(r.Stderr, "php") {
		t.Errorf("releases of a removed site: %d %s", r.Code, r.Stderr)
	}
}

// Archives of every kind, also sent with plain curl.
func TestArchiveFormats(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	app := harness.App("static")
	dir := t.TempDir()
	pack := func(name string, args ...string) string {
		t.Helper()
		harness.Need(t, args[0])
		path := filepath.Join(dir, name)
		cmd := exec.Command(args[0], append(args[1:], path, ".")...)
		cmd.Dir = app
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return path
	}
	archives := []string{
		pack("site.zip", "zip", "-qr"),
		pack("site.tar.gz", "tar", "-czf"),
		pack("site.tar", "tar", "-cf"),
	}
	for i, path := range archives {
		host := filepath.Base(path) + ".test"
		p.Must("deploy", "site-"+string(rune('a'+i)), path, "--host", host)
		if _, body, err := visitOK(harness.NewVisitor(t, p.HTTP, host), "/"); err != nil || !bytes.Contains(body, []byte("A static site")) {
			t.Errorf("%s: %v %s", path, err, body)
		}
	}

	harness.Need(t, "curl")
	client := p.ClientFile()
	out, err := exec.Command("curl", "-sS", "-k", "-T", archives[0], "-H", "Authorization: Bearer "+client.Token,
		"https://"+p.Admin+"/v1/sites/curled/archive?host=curled.test&wait=30s").CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v: %s", err, out)
	}
	var answer struct{ State catalog.DeployState }
	if err := json.Unmarshal(out, &answer); err != nil || answer.State != catalog.DeploySucceeded {
		t.Errorf("curl -T prints %s", out)
	}
	if _, _, err := visitOK(harness.NewVisitor(t, p.HTTP, "curled.test"), "/"); err != nil {
		t.Error(err)
	}
}

// A bad archive or manifest is refused whole, with every mistake named, and
// nothing changes.
func TestBadInputIsRefusedWhole(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.Must("deploy", "shop", harness.App("static"), "--host", "shop.test")

	f := func(what string, wants []string, args ...string) {
		t.Helper()
		r := p.CLI(args...)
		if r.Code == 0 {
			t.Errorf("%s was accepted: %s", what, r.Stdout)
		}
		for _, want := range wants {
			if !strings.Contains(r.Stderr, want) {
				t.Errorf("%s: the error does not name %q: %s", what, want, r.Stderr)
			}
		}
	}
	manifest := changed(t, harness.App("static"), "other.txt", "")
	if err := os.WriteFile(filepath.Join(manifest, "portico.toml"), []byte("hots = [\"x.test\"]\nhosts = [\"http://bad host/\"]\n[helth]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("two unknown keys and a malformed host", []string{"hots", "hosts", "helth", "health", "http://bad host/"}, "deploy", "shop", manifest)
	f("a host that another site has", []string{"shop.test", "shop"}, "deploy", "other", harness.App("static"), "--host", "shop.test")
	f("a bad site name", []string{"Shop_1"}, "deploy", "Shop_1", harness.App("static"))
	f("no such folder", []string{"no-such-folder"}, "deploy", "shop", filepath.Join(t.TempDir(), "no-such-folder"))
	text := filepath.Join(t.TempDir(), "site.zip")
	if err := os.WriteFile(text, []byte("this is no archive at all, only a text"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("a text file", []string{"zip"}, "deploy", "shop", text)
	if _, _, err := visitOK(harness.NewVisitor(t, p.HTTP, "shop.test"), "/"); err != nil {
		t.Error(err)
	}
}

// changed returns a copy of the folder app with text appended to one file.
func changed(t *testing.T, app, file, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	if err := os.CopyFS(dir, os.DirFS(app)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}
