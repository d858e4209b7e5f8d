package tests

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// Five hundred visitors with counters in the memory of real Tomcat, PHP and Node
// sites, through ten deploys, five drains, two restarts of the proxy and a new
// session key: every counter goes on. Then a server is switched off: exactly its
// visitors lose their counters, and each is told once.
func TestFiveHundredVisitors(t *testing.T) {
	s := startSoak(t)
	s.round()
	s.loseServer("server-1")
	s.report()
}

// TestSoak is the same for hours: PORTICO_SOAK=1 makes it run, PORTICO_SOAK_FOR
// says for how long (a duration, default 30m).
func TestSoak(t *testing.T) {
	if os.Getenv("PORTICO_SOAK") != "1" {
		t.Skip("make soak runs it")
	}
	limit := 30 * time.Minute
	if text := os.Getenv("PORTICO_SOAK_FOR"); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatalf("PORTICO_SOAK_FOR: %v", err)
		}
	}
	s := startSoak(t)
	s.forHours()
	for end := time.Now().Add(limit); time.Now().Before(end); {
		s.round()
		s.report()
	}
	s.loseServer("server-1")
	s.report()
}

// round is ten deploys, five drains, two restarts of the proxy and, where one is
// due, a new session key.
func (s *soak) round() {
	first := s.release("node")
	s.deploy("node")
	s.drainMember("server-1", func() { s.deploy("php") })
	s.rotateKey()
	s.deploy("node")
	s.deploy("tomcat")
	s.drainRelease("node", first)
	s.deploy("php")
	s.drainInstance("php", "server-2")
	s.drainMovingOverRestart("server-2")
	s.deploy("node")
	s.deploy("tomcat")
	s.emptyMember("server-3")
	s.deploy("php")
	s.rollback("node")
	s.deployOverPowerCut("php")
	s.crowd.everyone()
	s.crowd.everyone()
	s.noneLost()
}

// drainMember lets a server keep its sessions and get no new ones while something
// else happens, and takes it back.
func (s *soak) drainMember(name string, meanwhile func()) {
	s.t.Helper()
	s.crowd.everyone()
	s.proxy.Must("drain", name)
	s.count("drains")
	want := len(s.crowd.at(func(_ string, v harness.Visit) bool { return v.Server == name }))
	if d := drainsAt(s.t, s.proxy, name); d.Sessions != want {
		s.t.Errorf("the drain of %s counts %d sessions, and %d visitors are there", name, d.Sessions, want)
	}
	leaving := s.crowd.at(func(_ string, v harness.Visit) bool { return v.Server != name })
	s.crowd.leave(leaving[:len(leaving)/8])
	meanwhile()
	s.crowd.everyone()
	if n := len(s.crowd.at(func(_ string, v harness.Visit) bool { return v.Server == name })); n != want {
		s.t.Errorf("%d visitors are on %s, which drains, and %d were", n, name, want)
	}
	s.proxy.Must("ready", name)
}

// drainRelease empties a former release: its visitors end their sessions, begin
// the next ones on the present release, and its instances stop.
func (s *soak) drainRelease(site, release string) {
	s.t.Helper()
	there := func(in string, v harness.Visit) bool { return in == site && v.Release == release }
	list := s.crowd.at(there)
	if len(list) == 0 {
		s.t.Errorf("nobody is on release %.12s of %s", release, site)
	}
	s.proxy.Must("drain", site+"@"+release[:12], "--move", "--quiet", "10m")
	s.count("drains")
	left := make(chan struct{})
	go func() { // the last session ends while somebody waits for it
		defer close(left)
		<-time.After(2 * time.Second)
		s.crowd.ask(list)
	}()
	s.proxy.Must("drain", site+"@"+release[:12], "--wait", s.patience)
	<-left
	s.crowd.everyone()
	if n := len(s.crowd.at(there)); n != 0 {
		s.t.Errorf("%d visitors are on release %.12s of %s, which has been drained", n, release, site)
	}
	s.ended(site+"@"+release[:12], "empty after")
}

// drainInstance empties one instance, takes it out and back.
func (s *soak) drainInstance(site, member string) {
	s.t.Helper()
	id := s.instance(site, member)
	s.proxy.Must("drain", site+"/"+id)
	s.count("drains")
	s.crowd.leave(s.crowd.at(func(in string, v harness.Visit) bool {
		return in == site && v.Server == member && v.Release == s.release(site)
	}))
	s.proxy.Must("drain", site+"/"+id, "--wait", s.patience)
	s.proxy.Must("maint", site+"/"+id, "--yes")
	s.crowd.everyone()
	s.proxy.Must("ready", site+"/"+id)
}

// drainMovingOverRestart drains a server of which half the visitors end their
// sessions, and with them go elsewhere, while the proxy is restarted in good order.
func (s *soak) drainMovingOverRestart(name string) {
	s.t.Helper()
	s.crowd.everyone()
	s.proxy.Must("drain", name, "--move", "--quiet", "10m")
	s.count("drains")
	list := s.crowd.at(func(_ string, v harness.Visit) bool { return v.Server == name })
	s.crowd.leave(list[:len(list)/2])
	s.restart(false)
	s.crowd.everyone()
	stayed := len(s.crowd.at(func(_ string, v harness.Visit) bool { return v.Server == name }))
	if want := len(list) - len(list)/2; stayed != want {
		s.t.Errorf("%d visitors are on %s, which drains, want %d", stayed, name, want)
	}
	if d := drainsAt(s.t, s.proxy, name); d.Sessions != stayed || d.Recounting {
		s.t.Errorf("after the restart the drain of %s says %+v, and %d visitors are there", name, d, stayed)
	}
	s.proxy.Must("ready", name)
}

// emptyMember drains a server until nobody is left, takes it out and back.
func (s *soak) emptyMember(name string) {
	s.t.Helper()
	s.proxy.Must("drain", name)
	s.count("drains")
	s.crowd.leave(s.crowd.at(func(_ string, v harness.Visit) bool { return v.Server == name }))
	s.proxy.Must("drain", name, "--wait", s.patience)
	s.ended(name, "empty after")
	s.proxy.Must("maint", name, "--yes")
	s.crowd.everyone()
	s.proxy.Must("ready", name)
}

// deployOverPowerCut kills the proxy in the middle of a deploy.
func (s *soak) deployOverPowerCut(site string) {
	s.t.Helper()
	s.proxy.Must("deploy", site, s.next(site), "--detach")
	s.count("deploys")
	s.restart(true)
	harness.Eventually(s.t, time.Minute, func() error {
		s.crowd.sound()
		var list []struct{ Site, State string }
		s.proxy.JSON(&list, "deploys", site, "--json")
		if len(list) == 0 || list[0].State != "succeeded" {
			return errf("%+v", list)
		}
		return nil
	})
}

// restart ends the proxy, in good order or as a power cut would, and starts it.
func (s *soak) restart(crash bool) {
	s.t.Helper()
	s.count("restarts")
	s.crowd.crash.Store(crash)
	s.crowd.proxy.Add(1)
	s.keepMetrics()
	if crash {
		s.proxy.Kill()
	} else {
		s.proxy.Stop()
	}
	s.proxy.Restart()
	s.proxy.WaitReady()
	s.crowd.proxy.Add(1)
}

// loseServer switches a server off: its agent, its sites and its Tomcat.
func (s *soak) loseServer(name string) {
	s.t.Helper()
	s.crowd.everyone()
	before := s.lost()
	s.crowd.dead.Store(name)
	hit := s.crowd.at(func(_ string, v harness.Visit) bool { return v.Server == name })
	s.agents[name].KillWithSites()
	s.tomcats[name].Kill()
	for range 3 {
		s.crowd.everyone()
	}
	s.crowd.stop()
	if len(hit) < len(s.crowd.all)/10 {
		s.t.Errorf("only %d visitors were on %s", len(hit), name)
	}
	was := map[*regular]bool{}
	for _, r := range hit {
		was[r] = true
	}
	for _, r := range s.crowd.all {
		want, page := 0, 0
		if was[r] {
			want = 1
			if r.site == noticeSite && r.pages {
				page = 1
			}
		}
		if len(r.told) != want || r.page != page {
			s.t.Errorf("%s of %s was told %d times (want %d) and saw %d pages (want %d): %+v", r.caller.Agent, r.site, len(r.told), want, r.page, page, r.told)
		}
	}
	told := map[string]int{}
	for _, r := range hit {
		for _, v := range r.told {
			told[r.site+" "+strings.TrimPrefix(v.Lost, "cause=")]++
		}
	}
	after := s.lost()
	for key := range merge(told, after) {
		if got := after[key] - before[key]; got != told[key] {
			s.t.Errorf("%s: %d visitors were told, and %d are counted", key, told[key], got)
		}
	}
	if n := strings.Count(s.proxy.Log(), "session lost"); n != len(hit) {
		s.t.Errorf("the log tells of %d lost sessions, want %d", n, len(hit))
	}
	s.t.Logf("%s was switched off: %d of %d visitors were on it and lost their counters; told: %v", name, len(hit), len(s.crowd.all), told)
}

func merge(a, b map[string]int) map[string]bool {
	all := map[string]bool{}
	for _, m := range []map[string]int{a, b} {
		for k := range m {
			all[k] = true
		}
	}
	return all
}

// needSoak skips the test where one of the three kinds of application cannot run.
func needSoak(t *testing.T) {
	t.Helper()
	for _, program := range []string{"php", "node", "java"} {
		harness.Need(t, program)
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("the PHP site is started by a shell")
	}
}
