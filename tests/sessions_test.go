package tests

import (
	"strings"
	"testing"

	"portico/proxy/admin"
	"portico/tests/harness"
)

// An operator finds a visitor's session, moves it, ends it; the table outlives a
// clean restart of the proxy, and a fresh key loses nobody.
func TestSessionsOfVisitors(t *testing.T) {
	t.Parallel()
	harness.Need(t, "php")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "php", harness.App("php"), "--host", "php.test")
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 5)

	list := sessionsOf(t, p)
	if list.Total != 5 || len(list.Sessions) != 5 {
		t.Fatalf("%+v", list)
	}
	p.Must("keys", "rotate", "session")
	stay(t, vs, seen, "/")

	p.Stop()
	p.Restart()
	p.WaitReady()
	again := sessionsOf(t, p)
	if again.Total != 5 {
		t.Errorf("after a restart: %+v", again)
	}
	stay(t, vs, seen, "/")

	p.Must("sessions", "move", "php", again.Sessions[0].ID)
	moved := 0
	for i, v := range vs {
		got := v.Get("/")
		if got.Server != seen[i].Server {
			moved++
			if got.Lost != "cause=operator" && got.Lost != "operator" {
				t.Errorf("the application is told %q", got.Lost)
			}
		}
		seen[i] = got
	}
	if moved != 1 {
		t.Errorf("%d visitors moved, want 1", moved)
	}

	ended := sessionsOf(t, p).Sessions[0].ID
	p.Must("sessions", "end", "php", ended)
	for _, v := range vs {
		v.Get("/")
	}
	live := 0
	for _, in := range sessionsOf(t, p).Sessions {
		if !in.Ended {
			live++
			if in.ID == ended {
				t.Errorf("session %s goes on after its end", ended)
			}
		}
	}
	if live != 5 {
		t.Errorf("%d live sessions, want 5: the one that ended began anew", live)
	}
	if out := p.Must("audit"); !strings.Contains(out, "end session") || !strings.Contains(out, "move session") {
		t.Errorf("the audit log does not tell:\n%s", out)
	}
	if r := p.CLI("sessions", "end", "php", "0000000000000000"); r.Code != 1 {
		t.Errorf("a session that is not there: %d %s", r.Code, r.Stderr)
	}
}

func sessionsOf(t *testing.T, p *harness.Proxy) admin.SessionList {
	t.Helper()
	var list admin.SessionList
	p.JSON(&list, "sessions", "php", "--list", "--json")
	return list
}
