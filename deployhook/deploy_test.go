package deployhook_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/tests/support/race"
)

func TestDeployReachesEveryServer(t *testing.T) {
	c := newCluster(t)
	c.join("web1", "web2")
	d := c.deploy("shop", map[string]string{"index.html": "one", "portico.toml": `hosts = ["shop.example.com"]`}, catalog.DeploySucceeded)
	for _, m := range []string{"web1", "web2"} {
		if got := d.Members[m].Step; got != catalog.StepInRotation {
			t.Errorf("%s is %s", m, got)
		}
		if got := c.agent(m).running("shop"); !slices.Equal(got, []string{d.Release}) {
			t.Errorf("%s runs %v", m, got)
		}
	}
	s := c.site("shop")
	if s.Release != d.Release || s.Candidate != "" || s.Deploy != "" || len(s.Retiring) != 0 {
		t.Errorf("the site is %+v", s)
	}
	if r := c.catalog.View().Releases["shop"][d.Release]; r == nil || r.Files != 2 || r.By != "ann" || r.Proxy != "proxy" {
		t.Errorf("the release is %+v", r)
	}

	// A late joiner gets it without a deploy.
	c.join("web3")
	c.eventually("the late joiner runs the site", func() bool { return len(c.agent("web3").running("shop")) == 1 })

	if audit, err := c.catalog.Audit(t.Context(), 10); err != nil || len(audit) == 0 || audit[0].Action != "deploy succeeded" {
		t.Errorf("the audit says %+v, %v", audit, err)
	}
}

func TestFailedDeployLeavesTheOldRelease(t *testing.T) {
	c := newCluster(t)
	c.join("web1", "web2")
	first := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	serve := func() bool { // the first release, and nothing else
		return slices.Equal(c.agent("web1").running("shop"), []string{first.Release}) &&
			slices.Equal(c.agent("web2").running("shop"), []string{first.Release})
	}
	c.eventually("both serve the first release", serve) // a deploy does not wait for who is late
	c.agent("web2").change(func(a *agent) { a.sick["*"] = true })
	d := c.deploy("shop", map[string]string{"index.html": "two"}, catalog.DeployFailed)
	for _, want := range []string{"web2", "the check failed 3 times", "status 500"} {
		if !strings.Contains(d.Error, want) {
			t.Errorf("the error lacks %q: %s", want, d.Error)
		}
	}
	if !strings.Contains(d.Hint, "keeps serving") {
		t.Errorf("the hint is %q", d.Hint)
	}
	p := d.Members["web2"]
	if p.Probe == nil || p.Probe.Body != "oops" || len(p.Log) != 1 {
		t.Errorf("the failure carries no probe or log: %+v", p)
	}
	s := c.site("shop")
	if s.Release != first.Release || s.Candidate != "" || len(s.Retiring) != 0 {
		t.Errorf("the site is %+v", s)
	}
	if c.catalog.View().Releases["shop"][d.Release] != nil {
		t.Error("a release that never ran can be rolled back to")
	}
	c.eventually("the candidate is stopped everywhere", serve)
	// The same files again are a new attempt.
	c.agent("web2").change(func(a *agent) { delete(a.sick, "*") })
	second := c.deploy("shop", map[string]string{"index.html": "two"}, catalog.DeploySucceeded)
	if second.Release != d.Release {
		t.Errorf("the same files are %s and %s", d.Release, second.Release)
	}
}

func TestReleasesRetireWithTheirSessions(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	first := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	old := c.instanceOf("web1", first.Release)
	c.mu.Lock()
	c.load[old] = [2]int{3, 0}
	c.mu.Unlock()
	second := c.deploy("shop", map[string]string{"index.html": "two"}, catalog.DeploySucceeded)
	if second.Previous != first.Release {
		t.Errorf("the deploy says it replaces %q", second.Previous)
	}
	s := c.site("shop")
	if s.Release != second.Release || len(s.Retiring) != 1 || s.Retiring[0].Release != first.Release || time.Until(s.Retiring[0].Deadline) < 7*time.Hour {
		t.Fatalf("the site is %+v", s)
	}
	c.lookedAt(old)
	if got := c.agent("web1").running("shop"); len(got) != 2 {
		t.Fatalf("web1 runs %v while three sessions are on the old release", got)
	}
	c.mu.Lock()
	c.load[old] = [2]int{0, 1} // the last session ended, one request is under way
	c.mu.Unlock()
	c.lookedAt(old)
	if got := c.site("shop").Retiring; len(got) != 1 {
		t.Fatal("the old release went under a request")
	}
	c.mu.Lock()
	delete(c.load, old)
	c.mu.Unlock()
	c.eventually("the old release is gone", func() bool {
		return len(c.site("shop").Retiring) == 0 && slices.Equal(c.agent("web1").running("shop"), []string{second.Release})
	})
	c.eventually("its instance is forgotten", func() bool { return c.instanceOf("web1", first.Release) == "" })

	// Rollback is the same in reverse.
	d, err := c.Rollback(t.Context(), "shop", "", false, "ann")
	if err != nil {
		t.Fatal(err)
	}
	d = c.ended(d.ID, catalog.DeploySucceeded)
	if d.Release != first.Release || !d.Rollback || c.site("shop").Release != first.Release {
		t.Errorf("rolled back to %+v", d)
	}
}

func TestStopWaitsForRequests(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	d := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	in := c.instanceOf("web1", d.Release)
	c.mu.Lock()
	c.load[in] = [2]int{5, 1}
	c.mu.Unlock()
	if err := c.Remove(t.Context(), "shop", "ann"); err != nil {
		t.Fatal(err)
	}
	c.lookedAt(in)
	if len(c.agent("web1").running("shop")) != 1 {
		t.Error("an instance was stopped under a request")
	}
	c.mu.Lock()
	c.load[in] = [2]int{5, 0}
	c.mu.Unlock()
	c.eventually("the instance is stopped", func() bool { return len(c.agent("web1").running("shop")) == 0 })
	if err := c.Remove(t.Context(), "shop", "ann"); err == nil {
		t.Error("a site was removed twice")
	}
}

// A restarted proxy has an empty session table, which proves nothing about
// instances that are older than the proxy.
func TestRestartDoesNotEndRetiringReleases(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	first := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	c.mu.Lock()
	old := c.instanceOf("web1", first.Release)
	c.load[old] = [2]int{3, 0}
	c.mu.Unlock()
	c.deploy("shop", map[string]string{"index.html": "two"}, catalog.DeploySucceeded)
	before := c.site("shop").Retiring
	run := c.agent("web1").run
	c.stop()
	c.load = map[string][2]int{}
	c.start()
	c.startAgent("web1").change(func(a *agent) { a.run = run })
	c.lookedAt(old)
	if got := c.site("shop").Retiring; len(got) != 1 || got[0].Release != before[0].Release {
		t.Errorf("the retiring release is %v after a restart", got)
	}
	if got := c.agent("web1").running("shop"); len(got) != 2 {
		t.Errorf("web1 runs %v", got)
	}
	if err := c.EndRetiring(t.Context(), "shop", "", "ann"); err != nil {
		t.Fatal(err)
	}
	c.eventually("an operator's word ends it", func() bool { return len(c.agent("web1").running("shop")) == 1 })
}

func TestDeployGoesOnAfterARestart(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	c.agent("web1").change(func(a *agent) { a.stuck = true })
	a := c.upload("shop", "", bytes.NewReader(zipped(t, map[string]string{"index.html": "one"})))
	c.eventually("the server is at it", func() bool { return c.catalog.View().Deploy(a.ID).Members["web1"].Step == catalog.StepStarting })
	c.stop()
	c.start()
	c.startAgent("web1")
	c.ended(a.ID, catalog.DeploySucceeded)
	var said []string
	if err := c.Events(t.Context(), a.ID, func(e messages.Event) error { said = append(said, e.Member+" "+e.Message); return nil }); err != nil {
		t.Fatal(err)
	}
	if n := len(said); n < 3 || !strings.Contains(said[0], "begins") || said[n-1] != " succeeded" {
		t.Errorf("the events are %q", said)
	}
}

func TestAwayServersAreNotWaitedFor(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	c.accept("web2")
	c.mu.Lock()
	c.dead["web2"] = true
	c.mu.Unlock()
	d := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	if p := d.Members["web2"]; p.Step != catalog.StepWaiting || !strings.Contains(p.Detail, "away") || !strings.Contains(d.Hint, "1 of 2") {
		t.Errorf("web2 is %+v, the hint %q", p, d.Hint)
	}
	c.startAgent("web2")
	c.eventually("it installs the release when it is back", func() bool { return len(c.agent("web2").running("shop")) == 1 })
}

func TestDeployWithoutServers(t *testing.T) {
	c := newCluster(t)
	d := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	if !strings.Contains(d.Hint, "first one that joins") || c.site("shop").Release != d.Release {
		t.Errorf("the deploy is %+v", d)
	}
	c.join("web1")
	c.eventually("the first server runs it", func() bool { return len(c.agent("web1").running("shop")) == 1 })
}

func TestBeforeRunsOnceAndFirst(t *testing.T) {
	c := newCluster(t)
	c.join("web1", "web2", "web3")
	files := map[string]string{"migrate": "#!/bin/sh", "index.html": "x", "portico.toml": "[deploy]\nbefore = [\"./migrate\"]"}
	d := c.deploy("shop", files, catalog.DeploySucceeded)
	total := 0
	for _, m := range []string{"web1", "web2", "web3"} {
		c.agent(m).change(func(a *agent) { total += len(a.befores) })
	}
	if total != 1 {
		t.Errorf("the before command ran %d times", total)
	}
	for m, p := range d.Members {
		if p.Step != catalog.StepInRotation {
			t.Errorf("%s is %s", m, p.Step)
		}
	}
}

// TestTwoDeploysAtOnce: one of two deploys of a site wins, the other is told (D10).
func TestTwoDeploysAtOnce(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	c.agent("web1").change(func(a *agent) { a.stuck = true })
	results := make(chan answer, 4)
	for i := range 4 {
		go func() {
			results <- c.upload("shop", "", bytes.NewReader(zipped(t, map[string]string{"index.html": fmt.Sprint("version ", i)})))
		}()
	}
	var won []answer
	for range 4 {
		a := <-results
		switch a.status {
		case http.StatusAccepted:
			won = append(won, a)
		case http.StatusConflict:
			if !strings.Contains(a.text, "is being deployed by ann") {
				t.Errorf("the loser is told %s", a.text)
			}
		default:
			t.Errorf("an upload got %d: %s", a.status, a.text)
		}
	}
	if len(won) != 1 || c.site("shop").Candidate != won[0].Release {
		t.Fatalf("%d uploads won; the candidate is %s", len(won), c.site("shop").Candidate)
	}
	if _, err := c.Rollback(t.Context(), "shop", "", false, "ann"); err == nil {
		t.Error("a rollback began during a deploy")
	}
	d, err := c.Cancel(t.Context(), "shop", "ann")
	if err != nil || d.State != catalog.DeployFailed {
		t.Errorf("cancelled: %+v, %v", d, err)
	}
	if s := c.site("shop"); s.Candidate != "" || s.Deploy != "" {
		t.Errorf("after cancelling, the site is %+v", s)
	}
}

func TestSameReleaseIsSaidPlainly(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	files := map[string]string{"index.html": "one"}
	d := c.deploy("shop", files, catalog.DeploySucceeded)
	a := c.upload("shop", "", bytes.NewReader(zipped(t, files)))
	if a.status != 200 || !a.Same || a.State != catalog.DeploySucceeded || !strings.Contains(a.Hint, "runs already: nothing") || a.Release != d.Release {
		t.Errorf("the same again got %d: %s", a.status, a.text)
	}
	a = c.upload("shop", "host=new.example.com", bytes.NewReader(zipped(t, files)))
	if a.status != 200 || !a.Same || !strings.Contains(a.Hint, "only the settings") || !slices.Equal(c.site("shop").Manifest.Hosts, []string{"new.example.com"}) {
		t.Errorf("the same with another host got %d: %s", a.status, a.text)
	}
	// The place that a flag gave stays without the flag.
	files["index.html"] = "two"
	c.deploy("shop", files, catalog.DeploySucceeded)
	if got := c.site("shop").Manifest.Hosts; !slices.Equal(got, []string{"new.example.com"}) {
		t.Errorf("the next deploy moved the site to %v", got)
	}
}

// Ten thousand files, ten of them changed; a tenth of that with the race detector.
func TestSecondDeployShipsOnlyWhatChanged(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	files := map[string]string{}
	count, step := 10_000, 999
	if race.Enabled {
		count, step = 1_000, 99
	}
	for i := range count {
		files[fmt.Sprintf("d%02d/page%05d.html", i%40, i)] = fmt.Sprintf("<p>page %d of many, with a little text so that bytes can be told apart", i)
	}
	c.deploy("docs", files, catalog.DeploySucceeded)
	all := c.agent("web1").fetched.Load()
	var changed int64
	for i := range 10 {
		name := fmt.Sprintf("d%02d/page%05d.html", (i*step)%40, i*step)
		files[name] += " changed"
		changed += int64(len(files[name]))
	}
	a := c.upload("docs", "wait=60s", bytes.NewReader(zipped(t, files)))
	if a.status != 200 || a.State != catalog.DeploySucceeded || a.Changed != 10 || a.Ships != changed {
		t.Fatalf("got %d, %s, %d files with %d bytes changed", a.status, a.State, a.Changed, a.Ships)
	}
	if got := c.agent("web1").fetched.Load() - all; got != changed {
		t.Errorf("%d bytes travelled for ten changed files with %d bytes", got, changed)
	}
}

func TestEventsReplayAndFollow(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	c.agent("web1").change(func(a *agent) { a.stuck = true })
	a := c.upload("shop", "", bytes.NewReader(zipped(t, map[string]string{"index.html": "one"})))
	early := make(chan []messages.Event, 1)
	go func() {
		var events []messages.Event
		_ = c.Events(context.Background(), a.ID, func(e messages.Event) error { events = append(events, e); return nil })
		early <- events
	}()
	c.eventually("it starts", func() bool { return c.catalog.View().Deploy(a.ID).Members["web1"].Step == catalog.StepStarting })
	c.agent("web1").change(func(a *agent) {
		for _, in := range a.run {
			in.State, in.Progress.Step = catalog.InstanceHealthy, catalog.StepHealthy
		}
	})
	first := <-early
	var second []messages.Event
	if err := c.Events(t.Context(), a.ID, func(e messages.Event) error { second = append(second, e); return nil }); err != nil {
		t.Fatal(err)
	}
	steps := func(events []messages.Event) string {
		var b strings.Builder
		for _, e := range events {
			fmt.Fprintf(&b, "%s: %s\n", e.Member, e.Message)
		}
		return b.String()
	}
	for _, want := range []string{": deploy of shop begins\n", ": 1 files, 3 bytes; 1 files with 3 bytes are new\n", "web1: starting\n", "web1: in rotation\n", ": succeeded\n"} {
		if !strings.Contains(steps(first), want) || !strings.Contains(steps(second), want) {
			t.Errorf("%q is missing in:\n%s\nor:\n%s", want, steps(first), steps(second))
		}
	}
	if err := c.Events(t.Context(), "unknown", nil); err == nil {
		t.Error("an unknown deploy has events")
	}
}

func TestPinDeadlineEndsARetiringRelease(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	files := map[string]string{"index.html": "one", "portico.toml": "[deploy]\npin = \"3s\"\nkeep = 1"}
	first := c.deploy("shop", files, catalog.DeploySucceeded)
	old := c.instanceOf("web1", first.Release)
	c.mu.Lock()
	c.load[old] = [2]int{7, 0}
	c.mu.Unlock()
	files["index.html"] = "two"
	second := c.deploy("shop", files, catalog.DeploySucceeded)
	files["index.html"] = "three"
	third := c.deploy("shop", files, catalog.DeploySucceeded)
	if got := c.site("shop").Retiring; len(got) != 2 || got[0].Release != first.Release || got[1].Release != second.Release {
		t.Errorf("two releases should retire at once: %+v", got)
	}
	c.eventually("the deadline ends it, sessions or not", func() bool {
		return len(c.site("shop").Retiring) == 0 && slices.Equal(c.agent("web1").running("shop"), []string{third.Release})
	})
	// keep = 1: of the two that retired the newer stays for a rollback.
	if left := c.catalog.View().Releases["shop"]; len(left) != 2 || left[first.Release] != nil || left[second.Release] == nil {
		t.Errorf("%d releases are kept", len(left))
	}
}
