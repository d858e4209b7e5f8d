package tests

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"portico/tests/harness"
)

// A deployer who is told that data folders are served, and makes links of them, gets
// nothing of the machine: not on a page, and not as its own file. The agent is root, once with all
// rights and once with those of the example unit.
func TestSiteGetsNothingOfTheMachine(t *testing.T) {
	t.Parallel()
	harness.NeedRoot(t)
	harness.Need(t, "setpriv")
	for name, pre := range map[string][]string{"root": nil, "unit": {"setpriv", "--bounding-set", unitCapabilities(t), "--"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := harness.StartProxy(t)
			dir := harness.TempDir(t)
			harness.StartIn(t, pre, "server-1", nil, "agent", "--dir", dir, "--name", "server-1", "--listen", harness.Addr(t), "--gossip", harness.Addr(t),
				"--join", p.Admin, "--fingerprint", p.Fingerprint(), "--code", strings.TrimSpace(p.Must("invite", "--quiet")))
			p.WaitMember("server-1", "accepted")
			attackByPage(t, p, dir)
			attackByOwner(t, p, dir)
		})
	}
}

// unitCapabilities returns what the example unit leaves, as setpriv takes it.
func unitCapabilities(t *testing.T) string {
	t.Helper()
	unit, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "examples", "portico-agent.service"))
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(string(unit), "\nCapabilityBoundingSet=")
	if !ok {
		t.Fatal("the unit bounds no capabilities")
	}
	line, _, _ = strings.Cut(line, "\n")
	list := "-all"
	for c := range strings.FieldsSeq(line) {
		list += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	return list
}

// attackByPage asks for files of the machine through links in a data folder, and
// through a data folder that is a link.
func attackByPage(t *testing.T, p *harness.Proxy, dir string) {
	t.Helper()
	targets := []string{"/etc/shadow", filepath.Join(dir, "agent", "state.json"), filepath.Join(p.Dir, "identity", "catalog.key")}
	keys, err := filepath.Glob(filepath.Join(dir, "identity", "*"))
	if err != nil || len(keys) == 0 {
		t.Fatal("the agent has no identity", err)
	}
	keys = slices.DeleteFunc(keys, func(name string) bool { return strings.HasPrefix(filepath.Base(name), ".write-") }) // being written
	targets = append(targets, keys...)
	script := "cd $PORTICO_DATA_DIR/pub; echo mine > mine.txt; ln -s " + dir + " folder; ln -s " + dir + " ../leak; mkfifo pipe.txt"
	for i, target := range targets {
		script += fmt.Sprintf("; ln -s %s %d.txt", target, i)
	}
	site := t.TempDir()
	write(t, site, "index.html", "hello")
	write(t, site, "portico.toml", fmt.Sprintf("data = [\"pub\"]\n[deploy]\nbefore = [\"/bin/sh\", \"-ec\", %q]\n", script))
	p.Must("deploy", "page", site, "--host", "page.test")

	v := harness.NewVisitor(t, p.HTTP, "page.test")
	if resp, body, err := v.Do(http.MethodGet, "/pub/mine.txt", nil); err != nil || resp.StatusCode != http.StatusOK || string(body) != "mine\n" {
		t.Errorf("the site's own file: %v %s %v", resp, body, err)
	}
	paths := []string{"/pub/pipe.txt", "/pub/folder/agent/state.json"}
	for i := range targets {
		paths = append(paths, fmt.Sprintf("/pub/%d.txt", i))
	}
	for _, path := range paths {
		if resp, body, err := v.Do(http.MethodGet, path, nil); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %v, %.60q, %v", path, resp, body, err)
		}
	}
	for i, target := range targets {
		content, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		if _, body, _ := v.Do(http.MethodGet, fmt.Sprintf("/pub/%d.txt", i), nil); len(content) > 0 && bytes.Contains(body, content) {
			t.Errorf("%s is a web page", target)
		}
	}

	write(t, site, "portico.toml", "data = [\"leak\"]\n")
	r := p.CLI("deploy", "page", site, "--host", "page.test")
	if r.Code != 1 || !strings.Contains(r.Stderr+r.Stdout, `data folder "leak"`) || !strings.Contains(r.Stderr+r.Stdout, "mount --bind") {
		t.Errorf("a data folder that is a link: exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// attackByOwner has the agent make data folders behind a link, where the release has
// a file for it.
func attackByOwner(t *testing.T, p *harness.Proxy, dir string) {
	t.Helper()
	victim := t.TempDir()
	if err := os.Chmod(filepath.Dir(victim), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, victim, "shadow/file", "root's")
	site := t.TempDir()
	write(t, site, "index.html", "hello")
	write(t, site, "portico.toml", fmt.Sprintf("data = [\"own\"]\n[deploy]\nbefore = [\"/bin/sh\", \"-ec\", %q]\n", "ln -s "+victim+" $PORTICO_DATA_DIR/foo"))
	p.Must("deploy", "owner", site, "--host", "owner.test")
	write(t, site, "foo/shadow/x/planted", "planted")
	write(t, site, "foo/new/planted", "planted")
	write(t, site, "fresh/a/planted", "planted")
	write(t, site, "portico.toml", "public = \"public\"\ndata = [\"foo/shadow/x\", \"foo/new\", \"fresh/a\"]\n")
	write(t, site, "public/index.html", "hello")
	p.Must("deploy", "owner", site, "--host", "owner.test")
	for name, want := range map[string]bool{
		"": true, "shadow": true, "shadow/file": true, "shadow/x": false, "new": false,
	} {
		fi, err := os.Lstat(filepath.Join(victim, name))
		if (err == nil) != want || want && fi.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("what is root's was changed: %q: %v, %v", name, fi, err)
		}
	}
	fi, err := os.Lstat(filepath.Join(dir, "sites", "owner", "data", "fresh", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := fi.Sys().(*syscall.Stat_t).Uid; uid == 0 {
		t.Error("a data folder of the site's own is root's")
	}
}
