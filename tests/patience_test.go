//go:build unix

package tests

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// signalAll sends a signal to an agent and to all the processes of its sites.
func signalAll(a *harness.Agent, sig syscall.Signal) {
	pids := append([]int{a.Pid()}, harness.Descendants(a.Pid())...)
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}

// askAs sends a request with an Accept field and returns status, Retry-After and body.
func askAs(t *testing.T, v *harness.Visitor, accept string) (status int, retry, body string) {
	t.Helper()
	req, _ := http.NewRequest(http.MethodGet, "http://"+v.Host+"/", nil)
	req.Header.Set("Accept", accept)
	resp, err := v.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After"), string(data)
}

// on returns the visitors whose session is on a server.
func on(server string, vs []*harness.Visitor, seen []harness.Visit) (there []*harness.Visitor, saw []harness.Visit) {
	for i := range vs {
		if seen[i].Server == server {
			there, saw = append(there, vs[i]), append(saw, seen[i])
		}
	}
	return there, saw
}

// A whole server stands still, as for a snapshot or a live migration: nothing on it has died, so all of its
// visitors go on where they were. Meanwhile people get a page that renews itself, programs are told when to
// come again, and new visitors go to the other server.
func TestAServerThatStandsStillKeepsItsSessions(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, p, "node", 2)
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 8)
	vs, seen = on("server-1", vs, seen)
	if len(vs) < 2 {
		t.Fatal("nobody is on server-1")
	}

	signalAll(a, syscall.SIGSTOP)
	defer signalAll(a, syscall.SIGCONT)
	stopped := time.Now()
	harness.Eventually(t, time.Minute, logged(p.Process, `to=down reason="3 checks failed: L4TOUT`))
	known := time.Since(stopped).Round(100 * time.Millisecond)
	if t.Logf("known after %s", known); harness.Over(known, 20*time.Second) {
		t.Error("the silence was known too late")
	}
	for range 3 {
		if got := harness.NewVisitor(t, p.HTTP, "node.test").Get("/"); got.Server != "server-2" {
			t.Errorf("a new visitor was sent to %s", got.Server)
		}
	}
	<-time.After(time.Until(stopped.Add(15 * time.Second)))
	began := time.Now()
	status, retry, page := askAs(t, vs[0], "text/html")
	if status != http.StatusServiceUnavailable || retry == "" || !strings.Contains(page, `http-equiv="refresh"`) {
		t.Errorf("a person got %d, Retry-After %q: %s", status, retry, page)
	}
	status, retry, text := askAs(t, vs[1], "application/json")
	if status != http.StatusServiceUnavailable || retry == "" || !strings.Contains(text, `"session_kept"`) {
		t.Errorf("a program got %d, Retry-After %q: %s", status, retry, text)
	}
	t.Logf("two answers took %s", time.Since(began).Round(10*time.Millisecond))

	signalAll(a, syscall.SIGCONT)
	settled(t, p, "node", 2)
	stay(t, vs, seen, "/")

	// The same of its parts: an agent or an application that is stopped for longer than checks are patient.
	for _, pids := range [][]int{{a.Pid()}, harness.Descendants(a.Pid())} {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
		<-time.After(12 * time.Second)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		settled(t, p, "node", 2)
		stay(t, vs, seen, "/")
	}
	if log := p.Log(); strings.Contains(log, "session lost") || strings.Contains(log, "sessions given up") {
		t.Error("the log tells of lost sessions")
	}
}

// The proxy stands still for longer than its patience. What it did not see meanwhile says nothing of
// the servers.
func TestAProxyThatStoodStillBlamesNobody(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	p.Must("sites", "set", "node", "session.patience=1s")
	settled(t, p, "node", 2)
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 10)
	for range 3 {
		p.Signal(syscall.SIGSTOP)
		<-time.After(4 * time.Second)
		p.Signal(syscall.SIGCONT)
		stay(t, vs, seen, "/")
	}
}

// The agent says that a process has died, so nobody waits: its visitors move at once, each told
// once, and no request fails.
func TestAProcessThatDiesMovesItsVisitorsAtOnce(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, p, "node", 2)
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 10)
	vs, _ = on("server-1", vs, seen)
	for _, pid := range harness.Descendants(a.Pid()) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for i, v := range vs {
		began := time.Now()
		if got := v.Get("/"); got.Lost == "" {
			t.Errorf("visitor %d was not told: %+v", i, got)
		}
		if got := v.Get("/"); got.Lost != "" || got.Views != 2 {
			t.Errorf("visitor %d then saw %+v", i, got)
		}
		if took := time.Since(began); harness.Over(took, 4*time.Second) {
			t.Errorf("visitor %d waited %s", i, took)
		}
	}
}

// An operator who knows that a server that stands still will not come back says maint: its visitors move at once, they do not
// wait for the patience.
func TestMaintEndsThePatience(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "node", changed(t, harness.App("node"), "portico.toml", "\n[session]\npatience = \"1h\"\n"), "--host", "node.test")
	settled(t, p, "node", 2)
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 8)
	vs, _ = on("server-1", vs, seen)
	if len(vs) == 0 {
		t.Fatal("nobody is on server-1")
	}
	signalAll(a, syscall.SIGSTOP)
	defer signalAll(a, syscall.SIGCONT)
	harness.Eventually(t, time.Minute, logged(p.Process, "to=down"))
	p.Must("maint", "server-1", "--yes")
	for _, v := range vs {
		if got := v.Get("/"); got.Server != "server-2" || !strings.Contains(got.Lost, "cause=operator") {
			t.Errorf("after maint a visitor has %+v", got)
		}
	}
}
