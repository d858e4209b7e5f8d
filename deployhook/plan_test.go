package deployhook_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"portico/conf/sites"
	"portico/deployhook"
	"portico/internal/units"
	"portico/membership/catalog"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// situation is a deploy of shop at web1, web2, … which said these steps; "-" is
// a server that is away, "" one that has not begun.
func situation(settings sites.Settings, steps ...string) deployhook.Situation {
	s := deployhook.Situation{
		Deploy:   catalog.Deploy{ID: "d1", Site: "shop", Release: "r", State: catalog.DeployRunning, Members: map[string]catalog.MemberProgress{}, Created: epoch},
		Settings: settings.WithDefaults("shop"),
		Now:      epoch.Add(5 * time.Second),
		Began:    epoch,
	}
	for i, step := range steps {
		srv := deployhook.Server{Name: fmt.Sprint("web", i+1), Addr: fmt.Sprintf("web%d:7444", i+1), Changed: epoch}
		switch step {
		case "-":
			srv.Away = true
		case "":
			s.Deploy.Members[srv.Name] = catalog.MemberProgress{Step: catalog.StepWaiting}
		default:
			s.Deploy.Members[srv.Name] = catalog.MemberProgress{Step: catalog.StepFetching}
			srv.Report = &catalog.MemberProgress{Step: catalog.Step(step)}
			if step == string(catalog.StepInRotation) {
				srv.Report.Step, srv.Verified = catalog.StepHealthy, true
			}
		}
		s.Servers = append(s.Servers, srv)
	}
	return s
}

// steps is what a decision says of web1, web2, …
func steps(d deployhook.Decision) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(d.Members)) {
		list = append(list, string(d.Members[name].Step))
	}
	return strings.Join(list, " | ")
}

func TestPlan(t *testing.T) {
	wave := func(n int) sites.Settings { return sites.Settings{Deploy: sites.Deploy{Wave: n}} }
	before := sites.Settings{Deploy: sites.Deploy{Before: []string{"./migrate"}}}
	for _, c := range []struct {
		what  string
		s     deployhook.Situation
		state catalog.DeployState
		steps string
	}{
		{"no servers", situation(sites.Settings{}), catalog.DeploySucceeded, ""},
		{"all begin", situation(sites.Settings{}, "", "", ""), catalog.DeployRunning, "fetching | fetching | fetching"},
		{"one wave", situation(wave(1), "", "", ""), catalog.DeployRunning, "fetching | waiting | waiting"},
		{"wave of two", situation(wave(2), "", "", ""), catalog.DeployRunning, "fetching | fetching | waiting"},
		{"next when one is good", situation(wave(1), "in rotation", "", ""), catalog.DeployRunning, "in rotation | fetching | waiting"},
		{"not before", situation(wave(1), "starting", "", ""), catalog.DeployRunning, "starting | waiting | waiting"},
		{"healthy is not yet seen by the proxy", situation(wave(1), "healthy", ""), catalog.DeployRunning, "healthy | waiting"},
		{"before runs alone", situation(before, "", "", ""), catalog.DeployRunning, "fetching | waiting | waiting"},
		{"then all", situation(before, "in rotation", "", ""), catalog.DeployRunning, "in rotation | fetching | fetching"},
		{"before skips who is away", situation(before, "-", "", ""), catalog.DeployRunning, "waiting | fetching | waiting"},
		{"all good", situation(sites.Settings{}, "in rotation", "in rotation"), catalog.DeploySucceeded, "in rotation | in rotation"},
		{"one away", situation(sites.Settings{}, "in rotation", "-"), catalog.DeploySucceeded, "in rotation | waiting"},
		{"all away", situation(sites.Settings{}, "-", "-"), catalog.DeployRunning, "waiting | waiting"},
		{"one failed", situation(sites.Settings{}, "in rotation", "failed", "starting"), catalog.DeployFailed, "stopped | failed | stopped"},
		{"failed before the next wave", situation(wave(1), "failed", "", ""), catalog.DeployFailed, "failed | waiting | waiting"},
		{"an agent gave up", situation(sites.Settings{}, "stopped"), catalog.DeployFailed, "failed"},
	} {
		d := deployhook.Plan(c.s)
		if d.State != c.state || steps(d) != c.steps {
			t.Errorf("%s: %s, %q (%s); want %s, %q", c.what, d.State, steps(d), d.Error, c.state, c.steps)
		}
	}
}

func TestPlanOverTime(t *testing.T) {
	short := sites.Settings{Deploy: sites.Deploy{Timeout: units.Duration(10 * time.Second)}}
	late := func(s deployhook.Situation) deployhook.Situation { s.Now = epoch.Add(41 * time.Second); return s }
	for what, c := range map[string]struct {
		s   deployhook.Situation
		say string // piece of the error; empty: the deploy runs
	}{
		"in time":            {situation(short, "starting"), ""},
		"stuck":              {late(situation(short, "starting")), "nothing has changed for 40s while starting"},
		"silent":             {late(situation(short, "fetching")), "while fetching"},
		"nobody there":       {late(situation(short, "-", "-")), "none of the 2 application servers"},
		"out of reach":       {late(situation(short, "healthy")), "cannot reach it through web1:7444"},
		"its turn comes not": {late(situation(short, "in rotation", "")), ""},
	} {
		d := deployhook.Plan(c.s)
		if (d.State == catalog.DeployRunning) != (c.say == "") || !strings.Contains(d.Error, c.say) {
			t.Errorf("%s: %s, %q; want %q", what, d.State, d.Error, c.say)
		}
	}
	// An agent that called an instance healthy says since then that its checks fail: the way there is not what is wrong.
	failing := late(situation(short, "healthy"))
	failing.Servers[0].Report.Probe = &catalog.Probe{Code: "L7STS", Status: 500}
	if d := deployhook.Plan(failing); d.State != catalog.DeployFailed || !strings.Contains(d.Error, "fails the checks of its agent now") || strings.Contains(d.Error, "cannot reach") {
		t.Errorf("an instance that fails its checks: %s, %q", d.State, d.Error)
	}
	// Where it says so by the checks of this release nobody waits until the time is over, also not where the proxy has not seen it yet.
	known := situation(short, "in rotation")
	known.Servers[0].Failing = true
	known.Servers[0].Report.Probe = &catalog.Probe{Code: "L7STS", Status: 500, Asked: known.Settings.Question()}
	if d := deployhook.Plan(known); d.State != catalog.DeployFailed || d.Error != "web1: it was healthy, and fails the checks of its agent now; last check: L7STS, status 500 after 0s" {
		t.Errorf("an instance that is known to fail: %s, %q", d.State, d.Error)
	}
	// What it said to the checks of before counts neither way.
	for _, failing := range []bool{true, false} {
		known.Servers[0].Failing = failing
		known.Servers[0].Report.Probe = &catalog.Probe{OK: !failing, Code: "L7OK", Asked: "something else"}
		if d := deployhook.Plan(known); d.State != catalog.DeployRunning || steps(d) != "healthy" {
			t.Errorf("an instance that was asked something else, failing %v: %s, %q", failing, d.State, d.Error)
		}
	}
	// Progress keeps a slow transfer alive.
	s := late(situation(short, "fetching"))
	s.Servers[0].Changed = s.Now.Add(-time.Second)
	if d := deployhook.Plan(s); d.State != catalog.DeployRunning {
		t.Errorf("a slow transfer was failed: %s", d.Error)
	}
	// A server that operators keep visitors off need not be in rotation.
	s = situation(short, "healthy")
	s.Servers[0].Idle = true
	if d := deployhook.Plan(s); d.State != catalog.DeploySucceeded {
		t.Errorf("a drained server holds the deploy: %+v", d)
	}
	// A rollback runs no before command, so nobody waits for it.
	s = situation(sites.Settings{Deploy: sites.Deploy{Before: []string{"x"}}}, "", "")
	s.Deploy.Rollback = true
	if d := deployhook.Plan(s); steps(d) != "fetching | fetching" {
		t.Errorf("a rollback goes %q", steps(d))
	}
	// Who left the cluster is marked and does not count.
	s = situation(short, "in rotation", "starting")
	s.Servers = s.Servers[:1]
	if d := deployhook.Plan(s); d.State != catalog.DeploySucceeded || d.Members["web2"].Detail != "no longer a server of this site" {
		t.Errorf("a member that left: %+v", d)
	}
	// Who was away and is back takes part again.
	s = situation(short, "starting", "-")
	s.Deploy.Members = deployhook.Plan(s).Members
	s.Servers[1].Away = false
	d := deployhook.Plan(s)
	s.Deploy.Members = d.Members
	if d = deployhook.Plan(s); steps(d) != "starting | fetching" {
		t.Errorf("back again: %q", steps(d))
	}
}

// Whatever servers say and in whatever order, the plan keeps its laws: waves are
// never larger than allowed, a deploy succeeds only with a server in rotation, and
// without news it soon stands still, so that nothing is written for nothing.
func TestPlanLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5).Draw(t, "servers")
		wave := rapid.IntRange(0, 3).Draw(t, "wave")
		settings := sites.Settings{Deploy: sites.Deploy{Wave: wave}}
		if rapid.Bool().Draw(t, "before") {
			settings.Deploy.Before = []string{"x"}
		}
		s := situation(settings, slices.Repeat([]string{""}, n)...)
		for range 60 {
			i := rapid.IntRange(0, max(n-1, 0)).Draw(t, "who")
			if n > 0 {
				event(t, &s, &s.Servers[i])
			}
			s.Now = s.Now.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "seconds")) * time.Second)
			d := deployhook.Plan(s)
			checkLaws(t, d, n, wave)
			s.Deploy.Members = d.Members
			if d.State != catalog.DeployRunning {
				return
			}
			settles(t, s)
		}
	})
}

// settles applies decisions until they no longer change anything.
func settles(t *rapid.T, s deployhook.Situation) {
	last := ""
	for range len(s.Servers)*2 + 3 {
		d := deployhook.Plan(s)
		if now := fmt.Sprint(d); d.State != catalog.DeployRunning || now == last {
			return
		} else {
			last = now
		}
		s.Deploy.Members = d.Members
	}
	t.Fatalf("without news it goes on changing: %s", last)
}

func event(t *rapid.T, s *deployhook.Situation, srv *deployhook.Server) {
	switch rapid.SampledFrom([]string{"says", "says", "says", "away", "back", "seen"}).Draw(t, "event") {
	case "says":
		step := rapid.SampledFrom([]catalog.Step{catalog.StepFetching, catalog.StepInstalling, catalog.StepStarting, catalog.StepHealthy, catalog.StepHealthy, catalog.StepFailed}).Draw(t, "step")
		if srv.Report != nil && srv.Report.Step == catalog.StepHealthy && step != catalog.StepFailed {
			return // a server that falls back is over the wave by no fault of the plan
		}
		srv.Report, srv.Changed = &catalog.MemberProgress{Step: step}, s.Now
	case "away":
		srv.Away = true
	case "back":
		srv.Away = false
	case "seen":
		srv.Verified = true
	}
}

func checkLaws(t *rapid.T, d deployhook.Decision, n, wave int) {
	running, good := 0, 0
	for _, p := range d.Members {
		switch p.Step {
		case catalog.StepFetching, catalog.StepInstalling, catalog.StepStarting, catalog.StepHealthy:
			running++
		case catalog.StepInRotation:
			good++
		}
	}
	if wave > 0 && running > wave {
		t.Fatalf("%d servers are at it in waves of %d: %s", running, wave, steps(d))
	}
	if d.State == catalog.DeploySucceeded && n > 0 && good == 0 {
		t.Fatalf("it succeeded with nobody in rotation: %s", steps(d))
	}
	if d.State == catalog.DeployFailed && d.Error == "" {
		t.Fatal("it failed without a reason")
	}
	if strings.Contains(steps(d), "failed") && d.State != catalog.DeployFailed {
		t.Fatalf("a failed member did not fail it: %s", steps(d))
	}
}
