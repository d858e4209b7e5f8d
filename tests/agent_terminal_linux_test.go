package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// A person at a terminal presses Ctrl-C: once leaves the sites running and says how to end them, a second
// time ends them.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	p.Must("deploy", "node", harness.App("node"), "--host", "node.test")
	settled(t, p, "node", 1)
	vs, seen := visitors(t, p.HTTP, "node.test", "/", 2)
	before := sitesOf(t, a)
	endAgent(t, a)

	keys := a.RestartOnTerminal()
	started(t, a, 2)
	stay(t, vs, seen, "/")
	fmt.Fprint(keys, "\x03")
	harness.Eventually(t, time.Minute, logged(a.Process, "Press Ctrl-C again"))
	stay(t, vs, seen, "/") // it serves on meanwhile
	if code := a.Wait(30 * time.Second); code != 0 {
		t.Errorf("the agent ended with %d", code)
	}
	sameSites(t, a, before)

	keys = a.RestartOnTerminal()
	started(t, a, 3)
	stay(t, vs, seen, "/")
	fmt.Fprint(keys, "\x03")
	harness.Eventually(t, time.Minute, func() error { // two at once would be one
		if n := strings.Count(a.Log(), "Press Ctrl-C again"); n < 2 {
			return errf("it was said %d times", n)
		}
		return nil
	})
	fmt.Fprint(keys, "\x03")
	if code := a.Wait(60 * time.Second); code != 0 {
		t.Errorf("the agent ended with %d", code)
	}
	if left := harness.SiteProcesses(a.Dir); len(left) != 0 {
		t.Errorf("a second Ctrl-C left %v", left)
	}
}

// started waits until an agent has started for the nth time.
func started(t *testing.T, a *harness.Agent, n int) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		if got := strings.Count(a.Log(), "agent is ready"); got < n {
			return errf("%s has started %d times", a.Name, got)
		}
		return nil
	})
}
