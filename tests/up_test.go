package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

type upProcess struct {
	*harness.Process
	dir, http, admin string
}

func startUp(t *testing.T, args ...string) upProcess {
	t.Helper()
	u := upProcess{dir: harness.TempDir(t), http: harness.Addr(t), admin: harness.Addr(t)}
	u.Process = harness.Start(t, "up", nil, append([]string{
		"up", "--dir", u.dir, "--http", u.http, "--admin", u.admin}, args...)...)
	u.waitReady(t)
	return u
}

func (u upProcess) waitReady(t *testing.T) {
	t.Helper()
	v := harness.NewVisitor(t, u.http, "localhost")
	harness.Eventually(t, time.Minute, func() error {
		if !u.Running() {
			t.Fatalf("up ended:\n%s", u.Log())
		}
		_, err := v.Try("/?json")
		return err
	})
}

// A newcomer's first minutes: two servers, a site whose counter grows, a page
// with a ready-made login, a clean end, and everything there again.
func TestUpShowsASessionThatStays(t *testing.T) {
	t.Parallel()
	u := startUp(t)
	for _, step := range []string{"starting a proxy", "2 application servers join", "installing the demonstration site"} {
		if !strings.Contains(u.Log(), step) {
			t.Errorf("up does not say %q:\n%s", step, u.Log())
		}
	}
	servers := map[string]int{}
	for range 12 {
		v := harness.NewVisitor(t, u.http, "localhost")
		first := v.Get("/?json")
		for want := 2; want <= 4; want++ {
			got := v.Get("/?json")
			if got.Server != first.Server || got.Views != want {
				t.Fatalf("the visitor of %s is on %s with %d views, want %d", first.Server, got.Server, got.Views, want)
			}
		}
		servers[first.Server]++
	}
	if len(servers) != 2 {
		t.Errorf("twelve visitors went to %v, not to two servers", servers)
	}
	for _, want := range []string{"http://" + u.http, "https://" + u.admin + "/stats", " deploy hello "} {
		if !strings.Contains(u.Log(), want) {
			t.Errorf("up does not print %q:\n%s", want, u.Log())
		}
	}

	staying := harness.NewVisitor(t, u.http, "localhost")
	staying.Get("/?json")
	u.Signal(os.Interrupt)
	if code := u.Wait(20 * time.Second); code != 0 {
		t.Fatalf("Ctrl-C ended up with %d:\n%s", code, u.Log())
	}
	u.Restart()
	u.waitReady(t)
	if v := staying.Get("/?json"); v.Server == "" {
		t.Errorf("after a restart the site answers %+v", v)
	}
}

// What up prints works as it stands, when it is pasted into a shell of the folder that up was
// started in: without portico in the search path, from a folder whose name has a blank, and where
// a login to another cluster is saved. The deploy ends with the address that answers.
func TestUpPrintsWhatCanBePasted(t *testing.T) {
	t.Parallel()
	u := upProcess{http: harness.Addr(t), admin: harness.Addr(t)}
	u.dir = harness.TempDir(t) + " a"
	here := filepath.Dir(u.dir)
	if err := os.MkdirAll(filepath.Join(here, "config", "portico"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(here, "config", "portico"), "client.json", `{"addr":"127.0.0.1:1","token":"another cluster"}`)
	u.Process = harness.StartIn(t, []string{"env", "-C", here}, "up", []string{"XDG_CONFIG_HOME=" + filepath.Join(here, "config")},
		"up", "--dir", filepath.Base(u.dir), "--http", u.http, "--admin", u.admin)
	u.waitReady(t)
	harness.Eventually(t, time.Minute, func() error {
		if !strings.Contains(u.Log(), "Ctrl-C stops it") {
			return errf("up has not greeted:\n%s", u.Log())
		}
		return nil
	})
	_, greeting, _ := strings.Cut(u.Log(), "from this folder:\n")
	greeting, _, _ = strings.Cut(greeting, "\n\n")
	paste := func(word string, more ...string) string {
		t.Helper()
		for line := range strings.Lines(greeting) {
			if line = strings.TrimSpace(line); strings.Contains(line, " "+word) && !strings.HasPrefix(line, "#") {
				shell := exec.Command("sh", "-c", strings.Join(append([]string{line}, more...), " "))
				shell.Dir = here
				shell.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + here, "XDG_CONFIG_HOME=" + filepath.Join(here, "config")}
				out, err := shell.CombinedOutput()
				if err != nil {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
				return string(out)
			}
		}
		t.Errorf("up does not say how to %s:\n%s", word, greeting)
		return ""
	}
	paste("drain server-1")
	out := paste("deploy hello")
	_, port, _ := strings.Cut(u.http, ":")
	if want := "  http://hello.localhost:" + port + "/\n"; !strings.HasSuffix(out, want) {
		t.Errorf("the deploy does not end with %q:\n%s", want, out)
	}
	answer, body, err := harness.NewVisitor(t, u.http, "hello.localhost:"+port).Do("GET", "/", nil)
	if err != nil || answer.StatusCode != 200 || !strings.Contains(string(body), "Hello") {
		t.Errorf("the new site answers %v, %v\n%s", answer, err, body)
	}
	if out := paste("top", "--count", "1"); !strings.Contains(out, "hello") {
		t.Errorf("top shows\n%s", out)
	}
}

func TestUpServersFlag(t *testing.T) {
	t.Parallel()
	u := startUp(t, "--servers", "3")
	loopbackOnly(t, u)
	r := harness.Run(t, []string{"PORTICO_DIR=" + u.dir}, "members", "--json")
	var list []struct{ Name, Role, Admission string }
	if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil {
		t.Fatalf("%v: %s%s", err, r.Stdout, r.Stderr)
	}
	servers := 0
	for _, m := range list {
		if m.Role == "server" && m.Admission == "accepted" {
			servers++
		}
	}
	if servers != 3 {
		t.Errorf("--servers 3 gave %d: %s", servers, r.Stdout)
	}
}

// What stands in the way is named, with the way round it.
func TestStartIsRefusedClearly(t *testing.T) {
	t.Parallel()
	u := startUp(t)
	f := func(what string, wants []string, args ...string) {
		t.Helper()
		r := harness.Run(t, nil, args...)
		if r.Code == 0 {
			t.Errorf("%s: it started", what)
		}
		for _, want := range wants {
			if !strings.Contains(r.Stderr, want) {
				t.Errorf("%s: the error does not name %q:\n%s", what, want, r.Stderr)
			}
		}
	}
	f("a second process on the folder", []string{u.dir}, "up", "--dir", u.dir, "--http", harness.Addr(t), "--admin", harness.Addr(t))
	f("a port in use", []string{u.http, "proxy.http"}, "up", "--dir", harness.TempDir(t), "--http", u.http, "--admin", harness.Addr(t))

	bad := filepath.Join(t.TempDir(), "portico.toml")
	if err := os.WriteFile(bad, []byte("[proxy]\nhtpp = \":80\"\n[gossip]\naddress = \"nowhere\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("a bad configuration", []string{bad + ":2", "htpp", "http", bad + ":4", "nowhere"}, "check", "--config", bad)
	if v := harness.NewVisitor(t, u.http, "localhost").Get("/?json"); v.Server == "" {
		t.Error("the first process was hurt")
	}
}

func TestUsageErrorsExitWithTwo(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"deploy"}, {"nonsense"}, {"members", "--nonsense"}, {"drain"}} {
		if r := harness.Run(t, nil, args...); r.Code != 2 {
			t.Errorf("portico %v exits with %d, want 2: %s", args, r.Code, r.Stderr)
		}
	}
	if r := harness.Run(t, nil, "version"); r.Code != 0 || !strings.HasPrefix(r.Stdout, "portico ") {
		t.Errorf("portico version: %d %q", r.Code, fmt.Sprint(r))
	}
}
