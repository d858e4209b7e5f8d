package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// What an operator does to sessions that goes beyond looking at them, on one
// cluster of two servers: each step leaves it as it found it.
func TestOperatorAndSessions(t *testing.T) {
	harness.Need(t, "php")
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	a2 := p.AddServer("server-2")
	p.Must("deploy", "php", harness.App("php"), "--host", "php.test")
	t.Run("find", func(t *testing.T) { findSessions(t, p) })
	t.Run("memory warning", func(t *testing.T) { warnsOfShortMemory(t, p) })
	t.Run("cancelled deploy", func(t *testing.T) { cancelDeploy(t, p, a2) })
	t.Run("no pin", func(t *testing.T) { deployWithoutPin(t, p) })
	t.Run("withdrawn drain", func(t *testing.T) { withdrawDrain(t, p) })
	t.Run("move the quiet", func(t *testing.T) { drainMovesQuietSessions(t, p) })
	t.Run("damaged table", func(t *testing.T) { startWithDamagedTable(t, p) })
	t.Run("old table", func(t *testing.T) { startWithOldTable(t, p) })
	t.Run("gossip key", func(t *testing.T) { rotateGossipKey(t, p, a2) })
	t.Run("forget", func(t *testing.T) { forgetMember(t, p, a2) })
}

// findSessions narrows the list down to one session.
func findSessions(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 6)
	vs[0].Get("/")
	all := sessionsOf(t, p)
	if all.Total != 6 {
		t.Fatalf("%+v", all)
	}
	f := func(want int, args ...string) api.SessionList {
		t.Helper()
		var list api.SessionList
		p.JSON(&list, append([]string{"sessions", "php", "--list", "--json"}, args...)...)
		if list.Total != want {
			t.Errorf("%v: %d sessions, want %d", args, list.Total, want)
		}
		return list
	}
	on1 := f(spread(seen)["server-1"], "--member", "server-1")
	f(len(on1.Sessions), "--instance", on1.Sessions[0].Instance)
	f(6, "--release", seen[0].Release[:10])
	f(0, "--release", "0000000000")
	f(0, "--idle", "10m")
	one := f(1, "--id", all.Sessions[3].ID)
	if one.Sessions[0].ID != all.Sessions[3].ID {
		t.Errorf("found %+v", one.Sessions)
	}
	if list := f(6, "--limit", "2"); len(list.Sessions) != 2 {
		t.Errorf("--limit 2 lists %d", len(list.Sessions))
	}
	text := p.Must("sessions", "php", "--list")
	if !strings.Contains(text, all.Sessions[0].ID) || strings.Count(text, "seen once") != 5 {
		t.Errorf("five were seen once:\n%s", text)
	}
	if r := p.CLI("sessions", "move", "php", "0123"); r.Code != 1 || !strings.Contains(r.Stderr, "16 hexadecimal digits") {
		t.Errorf("a bad id: %d %s", r.Code, r.Stderr)
	}
}

// warnsOfShortMemory looks at a deploy whose release may need more memory than a
// server has, while the one before it holds sessions.
func warnsOfShortMemory(t *testing.T, p *harness.Proxy) {
	visitors(t, p.HTTP, "php.test", "/", 2)
	large := changed(t, harness.App("php"), "portico.toml", "\n[limits]\nmemory = \"900TiB\"\n")
	harness.Eventually(t, time.Minute, func() error { // the servers have told how much they have
		out := p.Must("deploy", "php", large, "--dry-run")
		for _, want := range []string{"server-1 has ", "server-2 has ", "of memory free", "--no-pin"} {
			if !strings.Contains(out, want) {
				return errf("the forecast lacks %q:\n%s", want, out)
			}
		}
		return nil
	})
	if out := p.Must("deploy", "php", changed(t, harness.App("php"), "small.txt", "x"), "--dry-run"); strings.Contains(out, "memory") {
		t.Errorf("a small release is warned of:\n%s", out)
	}
}

// cancelDeploy ends a deploy whose release never gets healthy. Nobody notices.
func cancelDeploy(t *testing.T, p *harness.Proxy, a *harness.Agent) {
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 6)
	hangs := changed(t, harness.App("broken"), "portico.toml", "")
	write(t, hangs, "portico.toml", "run = [\"node\", \"server.js\"]\nhosts = [\"php.test\"]\n[health]\npath = \"/healthz\"\n[deploy]\ntimeout = \"5m\"\n")
	p.Must("deploy", "php", hangs, "--detach")
	stay(t, vs, seen, "/")
	if r := p.CLI("deploy", "php", hangs, "--detach"); r.Code != 1 || !strings.Contains(r.Stderr, "is being deployed") {
		t.Errorf("a second deploy: %d %s", r.Code, r.Stderr)
	}
	if out := p.Must("deploys", "cancel", "php"); !strings.Contains(out, "is cancelled") {
		t.Errorf("it prints %q", out)
	}
	var list []catalog.Deploy
	p.JSON(&list, "deploys", "php", "--json")
	if d := list[0]; d.State != catalog.DeployFailed || d.Error != "cancelled by local" {
		t.Errorf("the deploy is %s: %s", d.State, d.Error)
	}
	if r := p.CLI("deploys", "cancel", "php"); r.Code != 1 || !strings.Contains(r.Stderr, "no deploy of site") {
		t.Errorf("a second time: %d %s", r.Code, r.Stderr)
	}
	harness.Eventually(t, time.Minute, logged(a.Process, "the release is not wanted any more"))
	stay(t, vs, seen, "/")
}

// deployWithoutPin cuts the sessions of the release before: each visitor is told
// once that an operator did it.
func deployWithoutPin(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 6)
	next := changed(t, harness.App("php"), "next.txt", "next")
	if r := p.CLI("deploy", "php", next, "--no-pin"); r.Code != 2 || !strings.Contains(r.Stdout, "session") {
		t.Errorf("without --yes: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	stay(t, vs, seen, "/")
	p.Must("deploy", "php", next, "--no-pin", "--yes")
	toldOnce(t, vs, seen)
}

// toldOnce visits until the session is lost, and once more.
func toldOnce(t *testing.T, vs []*harness.Visitor, seen []harness.Visit) {
	t.Helper()
	for i, v := range vs {
		var got harness.Visit
		harness.Eventually(t, time.Minute, func() error { // the cut follows the deploy
			if got = v.Get("/"); got.Lost == "" {
				return errf("visitor %d is not told: %+v", i, got)
			}
			return nil
		})
		if got.Lost != "cause=operator" {
			t.Errorf("visitor %d is told %q", i, got.Lost)
		}
		again := v.Get("/")
		if again.Lost != "" || again.Server != got.Server || again.Release != got.Release || again.Views != got.Views+1 {
			t.Errorf("visitor %d: first %+v, then %+v", i, got, again)
		}
		seen[i] = again
	}
}

// withdrawDrain takes a server back before its last session has ended.
func withdrawDrain(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 6)
	p.Must("drain", "server-1")
	harness.Eventually(t, time.Minute, func() error { // the drain has seen them
		if d := drainsAt(t, p, "server-1"); !d.Held {
			return errf("%+v", d)
		}
		return nil
	})
	p.Must("ready", "server-1")
	harness.Eventually(t, time.Minute, func() error {
		if out := p.Must("audit"); !strings.Contains(out, "drain withdrawn") || !strings.Contains(out, "before the last session had ended") {
			return errf("the audit does not tell:\n%s", out)
		}
		return nil
	})
	stay(t, vs, seen, "/")
	if _, more := visitors(t, p.HTTP, "php.test", "/", 12); spread(more)["server-1"] == 0 {
		t.Errorf("no new visitor on a server that is back: %v", spread(more))
	}
}

// drainMovesQuietSessions moves who was away for two seconds, and nobody else; what
// was marked stays so over a restart of the proxy, and counts.
func drainMovesQuietSessions(t *testing.T, p *harness.Proxy) {
	p.Must("deploy", "moves", harness.App("php"), "--host", "moves.test")
	vs, seen := visitors(t, p.HTTP, "moves.test", "/", 12)
	var quiet, busy []*harness.Visitor
	var was, goes []harness.Visit
	for i, v := range vs {
		switch {
		case seen[i].Server != "server-1":
		case len(quiet) <= len(busy):
			quiet, was = append(quiet, v), append(was, seen[i])
		default:
			busy, goes = append(busy, v), append(goes, seen[i])
		}
	}
	var list []struct{ Member, Instance string }
	p.JSON(&list, "sessions", "moves", "--json")
	instance := list[0].Instance
	if list[0].Member != "server-1" {
		instance = list[1].Instance
	}
	p.Must("drain", "moves/"+instance, "--move", "--quiet", "3s")
	harness.Eventually(t, time.Minute, func() error {
		stay(t, busy, goes, "/")
		if d := drainsAt(t, p, "moves/"+instance); d.Moved != len(quiet) {
			return errf("%d marked to move, want %d", d.Moved, len(quiet))
		}
		return nil
	})
	p.Must("drain", "moves/"+instance, "--move", "--quiet", "1h") // the restart is no silence
	p.Stop()
	p.Restart()
	p.WaitReady()
	stay(t, busy, goes, "/")
	if d := drainsAt(t, p, "moves/"+instance); d.Moved != len(quiet) || d.Sessions != len(quiet)+len(busy) || d.Recounting {
		t.Errorf("after the restart: %+v, want %d marked of %d", d, len(quiet), len(quiet)+len(busy))
	}
	toldOnce(t, quiet, was)
	for i, v := range quiet {
		if was[i].Server != "server-2" {
			t.Errorf("a quiet visitor is on %s", v.Get("/").Server)
		}
	}
	stay(t, busy, goes, "/")
	for _, v := range busy { // a safe moment: they begin anew elsewhere, untold
		if _, _, err := visitOK(v, "/logout"); err != nil {
			t.Fatal(err)
		}
		if got := v.Get("/"); got.Server != "server-2" || got.Views != 1 || got.Lost != "" {
			t.Errorf("after the end of its session a visitor sees %+v", got)
		}
	}
	if out := p.Must("drain", "moves/"+instance, "--wait", "30s"); !strings.Contains(out, "is empty") {
		t.Errorf("the wait ends with %q", out)
	}
	want := errf("%d sessions were marked to move", len(quiet)).Error()
	harness.Eventually(t, time.Minute, func() error {
		if out := p.Must("audit"); !strings.Contains(out, want) {
			return errf("the audit does not say %q:\n%s", want, out)
		}
		return nil
	})
	p.Must("ready", "moves/"+instance)
}

// startWithDamagedTable: the proxy starts, says what is wrong, and counts anew.
func startWithDamagedTable(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 6)
	startWithoutTable(t, p, vs, seen, "saved sessions not restored: they are counted anew", func(file string) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 0x20
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

// startWithOldTable: nobody in it can be alive.
func startWithOldTable(t *testing.T, p *harness.Proxy) {
	vs, seen := visitors(t, p.HTTP, "php.test", "/", 6)
	startWithoutTable(t, p, vs, seen, "saved sessions are too old to be alive", func(file string) {
		yesterday := time.Now().Add(-24 * time.Hour)
		if err := os.Chtimes(file, yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
	})
}

func startWithoutTable(t *testing.T, p *harness.Proxy, vs []*harness.Visitor, seen []harness.Visit, says string, spoil func(file string)) {
	t.Helper()
	p.Stop()
	spoil(filepath.Join(p.Dir, "sessions"))
	p.Restart()
	p.WaitReady()
	if err := logged(p.Process, says)(); err != nil {
		t.Error(err)
	}
	settled(t, p, "php", 2)
	if list := sessionsOf(t, p); list.Total != 0 || !list.Recounting {
		t.Errorf("before anybody came: %d sessions, recounting %v", list.Total, list.Recounting)
	}
	stay(t, vs, seen, "/")
	if list := sessionsOf(t, p); list.Total != len(vs) || !list.Recounting {
		t.Errorf("%d visitors came: %d sessions, recounting %v", len(vs), list.Total, list.Recounting)
	}
}

// rotateGossipKey: nobody drops out, and who restarts speaks with the new key.
func rotateGossipKey(t *testing.T, p *harness.Proxy, restarts *harness.Agent) {
	before := p.Must("keys", "--json")
	p.Must("keys", "rotate", "gossip")
	if after := p.Must("keys", "--json"); after == before {
		t.Errorf("the keys are the same: %s", after)
	}
	restarts.Kill()
	harness.Eventually(t, time.Minute, func() error { // gossip notices, so it is heard
		if g := gossipOf(p)[restarts.Name]; g == "alive" {
			return errf("%s is %s", restarts.Name, g)
		}
		return nil
	})
	restarts.Restart()
	harness.Eventually(t, time.Minute, func() error {
		for name, g := range gossipOf(p) {
			if g != "alive" {
				return errf("%s is %q", name, g)
			}
		}
		return nil
	})
	settled(t, p, "php", 2)
}

// gossipOf is what gossip says of each accepted application server.
func gossipOf(p *harness.Proxy) map[string]string {
	list := map[string]string{}
	for _, m := range p.Members() {
		if m.Role == catalog.RoleServer && m.Admission == catalog.Accepted {
			list[m.Name] = m.Gossip
		}
	}
	return list
}

// forgetMember frees the name of a machine that was revoked.
func forgetMember(t *testing.T, p *harness.Proxy, a *harness.Agent) {
	if r := p.CLI("members", "forget", a.Name); r.Code != 1 {
		t.Errorf("an accepted member: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	p.Must("revoke", a.Name, "--yes")
	harness.Eventually(t, time.Minute, logged(a.Process, "revoked"))
	if out := p.Must("members", "forget", a.Name); !strings.Contains(out, "is forgotten") {
		t.Errorf("it prints %q", out)
	}
	for _, m := range p.Members() {
		if m.Name == a.Name {
			t.Errorf("%s is on the list: %+v", a.Name, m)
		}
	}
	p.AddServer(a.Name) // another machine, with another key
	settled(t, p, "php", 2)
}
