package tests

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestHangup: SIGHUP, which an operator sends to have a file read again, ended an agent at once, and left the sites of
// portico up running when its terminal was closed.
func TestHangup(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	waits, serves := p.StartAgent("server-1"), p.AddServer("server-2")
	p.WaitMember("server-1", "pending")
	for _, a := range []*harness.Agent{waits, serves} {
		a.Signal(syscall.SIGHUP)
		harness.Eventually(t, time.Minute, func() error {
			if !a.Running() {
				t.Fatalf("%s has ended:\n%s", a.Name, a.Log())
			}
			if !strings.Contains(a.Log(), "SIGHUP changes nothing") {
				return errf("%s does not say what SIGHUP does:\n%s", a.Name, a.Log())
			}
			return nil
		})
	}
	p.Must("accept", "server-1")
	p.WaitMember("server-1", "accepted")

	u := startUpInTerminal(t)
	sites := harness.Descendants(u.Pid())
	if len(sites) == 0 {
		t.Fatal("up runs no site")
	}
	u.Signal(syscall.SIGHUP)
	if code := u.Wait(2 * time.Minute); code < 0 {
		t.Errorf("up was ended by SIGHUP, without ending its sites: %d", code)
	}
	for _, pid := range sites {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("process %d of a site lives on", pid)
		}
	}
}

// startUpInTerminal starts up as a shell does at a terminal. Where the tests run under nohup, what they start does not hear SIGHUP
// either, unless they hear it themselves.
func startUpInTerminal(t *testing.T) upProcess {
	t.Helper()
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	return startUp(t)
}

// TestUpOutlivesItsTerminalUnderNohup: who starts up with nohup means it to run on.
func TestUpOutlivesItsTerminalUnderNohup(t *testing.T) {
	t.Parallel()
	harness.Need(t, "nohup")
	u := upProcess{dir: harness.TempDir(t), http: harness.Addr(t), admin: harness.Addr(t)}
	u.Process = harness.StartIn(t, []string{"nohup"}, "up", nil, "up", "--dir", u.dir, "--http", u.http, "--admin", u.admin)
	u.waitReady(t)
	u.Signal(syscall.SIGHUP)
	v := harness.NewVisitor(t, u.http, "localhost")
	for range 5 {
		v.Get("/?json")
	}
	if !u.Running() || strings.Contains(u.Log(), "stopping") {
		t.Errorf("up took SIGHUP for its end:\n%s", u.Log())
	}
}
