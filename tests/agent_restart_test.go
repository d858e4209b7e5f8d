package tests

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// Agents are restarted and replaced under load as a service manager does it: SIGTERM, wait, start. No
// request fails, no visitor loses a session, and every site's process is the one from before.
func TestAgentRestartUnderLoad(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p, roots := startWithCertificate(t)
	agents := []*harness.Agent{p.AddServer("server-1"), p.AddServer("server-2")}
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test", "--host", "localhost")
	settled(t, p, "node", 2)
	l := startLoad(t, p, roots)
	for i, a := range agents {
		before := sitesOf(t, a)
		restartAgent(t, a)
		l.goesOn(t)
		if i == 0 {
			a.Upgrade(otherProgram(t))
		}
		restartAgent(t, a)
		l.goesOn(t)
		sameSites(t, a, before)
	}
	l.stop(t)
}

// otherProgram is a copy of the program in another file, as an upgrade brings it.
func otherProgram(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(harness.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(filepath.Dir(harness.TempDir(t)), "portico")
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func sitesOf(t *testing.T, a *harness.Agent) []int {
	t.Helper()
	pids := harness.SiteProcesses(a.Dir)
	if len(pids) == 0 {
		t.Fatalf("%s runs no site", a.Name)
	}
	return pids
}

func sameSites(t *testing.T, a *harness.Agent, before []int) {
	t.Helper()
	if now := harness.SiteProcesses(a.Dir); !slices.Equal(now, before) {
		t.Errorf("%s: the sites' processes were %v and are %v", a.Name, before, now)
	}
}

// restartAgent ends an agent and starts it again as systemctl restart does.
func restartAgent(t *testing.T, a *harness.Agent) {
	t.Helper()
	endAgent(t, a)
	a.Restart()
}

func endAgent(t *testing.T, a *harness.Agent) {
	t.Helper()
	a.Signal(syscall.SIGTERM)
	if code := a.Wait(45 * time.Second); code != 0 { // TimeoutStopSec in docs/examples
		t.Fatalf("%s ended with %d", a.Name, code)
	}
}

// An agent that was accepted starts again with nothing but its folder, as the unit in docs/examples
// starts it, and visitors do not wait for what it asks of the machine: a program that takes its time to tell
// its version is none of theirs.
func TestAgentStartsByItself(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	p.Must("sites", "set", "node", "session.patience=1h")
	settled(t, p, "node", 1)
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 3)
	before := sitesOf(t, a)
	endAgent(t, a)

	slow := filepath.Dir(harness.TempDir(t))
	for _, name := range []string{"ruby", "php"} {
		if err := os.WriteFile(filepath.Join(slow, name), []byte("#!/bin/sh\nsleep 4\necho 9.9.9\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a.SetEnv("PATH=" + slow + ":" + os.Getenv("PATH"))
	a.SetArgs("agent", "--dir", a.Dir, "--listen", a.Addr, "--gossip", harness.Addr(t))
	began := time.Now()
	a.Restart()
	stay(t, vs, seen, "/")
	if took := time.Since(began); harness.Over(took, 3500*time.Millisecond) {
		t.Errorf("visitors waited %v for the agent's start", took)
	}
	sameSites(t, a, before)
	harness.Eventually(t, time.Minute, func() error { // known later, and told
		for _, m := range p.Members() {
			if m.Name == "server-1" && m.Runtimes["ruby"] == "9.9.9" && m.Runtimes["node"] != "" {
				return nil
			}
		}
		return errf("the slow runtime is not told: %+v", p.Members())
	})
}

// The machine loses its power: agent and sites are gone at once. The next start brings the site back and says which
// processes have ended, so that nobody waits for those any longer, however patient the site is. An agent that is
// killed alone leaves its sites, and the next adopts them.
func TestAgentIsKilled(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, p, "node", 1)
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 3)
	before := sitesOf(t, a)
	a.Kill()
	a.Restart()
	stay(t, vs, seen, "/")
	sameSites(t, a, before)

	a.KillWithSites()
	if left := harness.SiteProcesses(a.Dir); len(left) != 0 {
		t.Fatalf("the power cut left %v", left)
	}
	a.Restart()
	for i, v := range vs {
		var got harness.Visit
		harness.Eventually(t, time.Minute, func() (err error) {
			got, err = v.Try("/")
			return err
		})
		if got.Lost == "" || got.Views != 1 {
			t.Errorf("visitor %d sees %+v after the power cut", i, got)
		}
		if got = v.Get("/"); got.Lost != "" || got.Views != 2 {
			t.Errorf("visitor %d then sees %+v", i, got)
		}
	}
}

// A person ends an agent: once leaves the sites, with a word on how to end them; portico agent stop --sites ends them
// in good order, also where no agent runs.
func TestAgentStopEndsSites(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a, b := p.AddServer("server-1"), p.AddServer("server-2")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, p, "node", 2)
	before := sitesOf(t, a)
	stop := func(sites bool, args ...string) string {
		t.Helper()
		r := harness.Run(t, nil, append([]string{"agent", "stop", "--dir", a.Dir}, args...)...)
		if r.Code != 0 {
			t.Fatalf("agent stop %v: exit %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
		}
		if left := harness.SiteProcesses(a.Dir); sites == (len(left) > 0) {
			t.Errorf("agent stop %v: sites' processes are %v", args, left)
		}
		return r.Stdout + r.Stderr
	}
	if out := stop(false); !strings.Contains(out, "run on") || a.Running() {
		t.Errorf("agent stop says %q", out)
	}
	sameSites(t, a, before)
	if r := harness.Run(t, nil, "agent", "stop", "--dir", a.Dir); r.Code != 1 || !strings.Contains(r.Stderr, "--sites") {
		t.Errorf("agent stop without an agent: exit %d, %s", r.Code, r.Stderr)
	}
	if out := stop(true, "--sites"); !strings.Contains(out, `msg="agent is ready" name=server-1 address=`+a.Addr) { // no agent runs
		t.Errorf("agent stop --sites forgets where the agent was:\n%s", out)
	}
	a.Restart()
	// The proxy shows the dead instance as up until the agent has told of its end.
	harness.Eventually(t, time.Minute, func() error {
		if len(harness.SiteProcesses(a.Dir)) == 0 {
			return fmt.Errorf("%s runs no site", a.Name)
		}
		return nil
	})
	settled(t, p, "node", 2)

	// Requests under way end, and new ones are answered elsewhere, while the sites end.
	failed := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(failed)
		for {
			select {
			case <-done:
				return
			case <-time.After(pace):
			}
			if _, _, err := visitOK(harness.NewVisitor(t, p.HTTP, "node.test"), "/"); err != nil {
				failed <- err
				return
			}
		}
	}()
	stop(true, "--sites")
	close(done)
	if err := <-failed; err != nil {
		t.Errorf("a visitor failed while sites ended: %v", err)
	}
	if code := a.Wait(20 * time.Second); code != 0 {
		t.Errorf("the agent ended with %d", code)
	}
	sitesOf(t, b)
	if _, _, err := visitOK(harness.NewVisitor(t, p.HTTP, "node.test"), "/"); err != nil {
		t.Error(err)
	}
}

// A static site is served by its agent: its visitors wait, or are answered elsewhere, during the restart.
func TestAgentRestartServesFiles(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.Must("deploy", "static", harness.App("static"), "--host", "static.test")
	settled(t, p, "static", 1)
	v := harness.NewVisitor(t, p.HTTP, "static.test")
	if _, _, err := visitOK(v, "/"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		restartAgent(t, a)
		if resp, body, err := v.Do(http.MethodGet, "/", nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("during the restart a visitor gets %v %.200s %v", resp, body, err)
		}
	}
}

// Agents say that they go. Who comes to their sites meanwhile waits for the first that is back, also when that takes its time: a package
// manager replaces the program first, or the machine is busy. They are more than a request has attempts.
func TestAgentsBackAfterAWhile(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	agents := map[string]*harness.Agent{}
	for _, name := range []string{"server-1", "server-2", "server-3", "server-4"} {
		agents[name] = p.AddServer(name)
	}
	for _, app := range []string{"node", "static"} {
		p.Must("deploy", app, harness.App(app), "--host", app+".test")
		settled(t, p, app, len(agents))
	}
	session := harness.NewVisitor(t, p.HTTP, "node.test")
	_, body, err := visitOK(session, "/")
	if err != nil {
		t.Fatal(err)
	}
	home, first := "", ""
	for name := range agents {
		switch {
		case strings.Contains(string(body), name):
			home = name
		default:
			first = name
		}
	}
	var ends sync.WaitGroup
	for _, a := range agents {
		ends.Go(func() { endAgent(t, a) })
	}
	ends.Wait()
	var held, own sync.WaitGroup
	own.Go(func() {
		_, body, err := visitOK(session, "/")
		if err != nil || !strings.Contains(string(body), `"views":2`) {
			t.Errorf("who has a session gets %s, %v", body, err)
		}
	})
	for i := range 6 {
		app := []string{"node", "static"}[i%2]
		held.Go(func() {
			if _, _, err := visitOK(harness.NewVisitor(t, p.HTTP, app+".test"), "/"); err != nil {
				t.Errorf("a new visitor: %v", err)
			}
		})
	}
	time.Sleep(6 * time.Second) // longer than requests are held for what nobody has announced
	agents[first].Restart()
	held.Wait() // the others stay away
	agents[home].Restart()
	own.Wait()
}
