package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
)

func TestRiseAndFall(t *testing.T) {
	// Each letter is one piece of evidence: + and - a check, x a failed request,
	// A the agent's good word, a its bad word, E an exit, g silence in gossip.
	evidence := map[rune]balancer.Evidence{
		'+': {From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200},
		'-': {From: balancer.FromCheck, Code: "L4CON", Detail: "refused"},
		'x': {From: balancer.FromTraffic, Detail: "reset"},
		'A': {From: balancer.FromAgent, OK: true},
		'a': {From: balancer.FromAgent},
		'E': {From: balancer.FromAgent, Exited: true},
		'g': {From: balancer.FromGossip},
		's': {From: balancer.FromStream, OK: true, Code: "L7OK"}, // a check of the agent's
		'S': {From: balancer.FromStream, Code: "L7STS"},
	}
	f := func(story, want string) {
		t.Helper()
		w := newWorldOf(t, balancer.Config{})
		w.update(balancer.Spec{ID: "a"})
		u := w.up("a")
		for _, r := range story {
			w.now += 1000
			u.Observe(evidence[r], w.now)
		}
		if got := u.Snapshot(w.now).Status; got != want {
			t.Errorf("%q: %q, want %q (%s)", story, got, want, u.Health().Reason)
		}
	}
	f("", "DOWN")
	f("+", "UP")
	f("-", "DOWN")
	f("-+", "DOWN 1/2")
	f("-++", "UP")
	f("-+-+", "DOWN 1/2")
	f("+-", "UP 2/3")
	f("+--", "UP 1/3")
	f("+---", "DOWN")
	f("+--+", "UP 2/3")
	f("+--++", "UP")
	f("+---+", "DOWN 1/2")
	f("+---++", "UP")
	f("+x", "NOLB")
	f("+xxxxxxxx", "NOLB")
	f("+x+", "UP")
	f("+x-", "NOLB 2/3")
	f("+x---", "DOWN")
	f("+-x+", "UP")
	f("ssss", "DOWN")
	f("+ssss", "UP")
	f("+SSSSSS", "UP")
	f("+-ssss", "UP 2/3")
	f("+xssss", "NOLB")
	f("+---ssss", "DOWN")
	f("+s---", "DOWN")
	f("A", "DOWN")
	f("A+", "UP")
	f("-AAAA", "DOWN 1/2")
	f("-A+", "UP")
	f("+a", "UP")
	f("+E", "DOWN (agent)")
	f("+E+", "DOWN (agent)")
	f("+g", "UP")
	f("+ggggg", "UP")
	f("g", "DOWN")
}

func TestCheckNow(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a")
	f := func(e balancer.Evidence, changed, now bool) {
		t.Helper()
		if got := w.up("a").Observe(e, w.now); got.Changed != changed || got.CheckNow != now {
			t.Errorf("%+v leads to %+v", e, got)
		}
	}
	f(balancer.Evidence{From: balancer.FromGossip}, false, true)
	f(balancer.Evidence{From: balancer.FromGossip, OK: true}, false, false)
	f(balancer.Evidence{From: balancer.FromAgent, OK: true}, false, false)
	f(balancer.Evidence{From: balancer.FromAgent}, false, true)
	f(balancer.Evidence{From: balancer.FromTraffic}, true, true)
	f(balancer.Evidence{From: balancer.FromTraffic}, false, true)
	f(balancer.Evidence{From: balancer.FromCheck, OK: true}, true, false)
	f(balancer.Evidence{From: balancer.FromAgent, Exited: true}, true, false)
}

func TestHealthTimes(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a")
	w.now += 10_000
	w.failCheck("a", 3)
	w.now += 4_000
	w.passCheck("a", 2)
	w.now += 5_000
	s := w.up("a").Snapshot(w.now)
	if s.DownTime.Std() != 4*time.Second || s.Downs != 1 || s.ChecksFail != 3 || s.LastChange.Std() != 5*time.Second {
		t.Errorf("down for %s, %d times, %d checks failed, changed %s ago", s.DownTime, s.Downs, s.ChecksFail, s.LastChange)
	}
	if s.Reason != "2 checks passed: L7OK 200" || s.CheckCode != "L7OK" || s.CheckStatus != 200 || s.CheckAge != 5*time.Second {
		t.Errorf("reason %q, check %q %d, %s ago", s.Reason, s.CheckCode, s.CheckStatus, s.CheckAge)
	}
	p := w.p.Snapshot(w.now)
	if p.Downs != 1 || p.DownTime != 4*time.Second || p.LastChange.Std() != 5*time.Second || p.Status != "UP" {
		t.Errorf("the pool was down for %s, %d times: %s since %s", p.DownTime, p.Downs, p.Status, p.LastChange)
	}
}

func TestNoChecks(t *testing.T) {
	c := balancer.Config{Health: balancer.HealthRules{Off: true}}
	w := newWorldOf(t, c)
	w.update(balancer.Spec{ID: "a"})
	if s := w.up("a").Snapshot(w.now); s.Status != "no check" || !s.InRotation {
		t.Fatalf("without checks: %q", s.Status)
	}
	w.up("a").Observe(balancer.Evidence{From: balancer.FromTraffic}, w.now)
	if w.up("a").InRotation() {
		t.Fatal("takes new visitors after a failed connection")
	}
	w.now += 9_000
	w.b.Tick(w.now)
	if w.up("a").InRotation() {
		t.Fatal("trusted again too early")
	}
	w.now += 1_000
	w.b.Tick(w.now)
	if !w.up("a").InRotation() {
		t.Fatal("never trusted again")
	}
}

func TestNextCheck(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a")
	u := w.up("a")
	between := func(name string, low, high time.Duration) {
		t.Helper()
		for random := range uint64(1000) {
			if d := u.NextCheck(2*time.Second, balancer.Hash([]byte{byte(random), byte(random >> 8)})); d < low || d > high {
				t.Fatalf("%s: next check in %s", name, d)
			}
		}
	}
	between("up", 1800*time.Millisecond, 2200*time.Millisecond)
	w.failCheck("a", 1)
	between("falling", 450*time.Millisecond, 550*time.Millisecond)
	w.failCheck("a", 2)
	between("down", 1800*time.Millisecond, 2200*time.Millisecond)
	w.passCheck("a", 1)
	between("rising", 450*time.Millisecond, 550*time.Millisecond)
}

func TestSlowStart(t *testing.T) {
	w := newWorld(t, balancer.Config{SlowStart: 10 * time.Second}, "a", "b")
	w.now += 20_000
	w.b.Tick(w.now)
	w.failCheck("a", 3)
	w.passCheck("a", 2)
	share := func() (weight, percent int) {
		s := w.up("a").Snapshot(w.now)
		return s.Weight, s.SlowStart
	}
	for _, step := range []struct{ after, weight, percent int }{{0, 10, 10}, {5, 55, 55}, {4, 91, 91}, {1, 100, 0}, {10, 100, 0}} {
		w.now += int64(step.after) * 1000
		w.b.Tick(w.now)
		if weight, percent := share(); weight != step.weight || percent != step.percent {
			t.Errorf("%d s on: weight %d at %d %%, want %d at %d %%", step.after, weight, percent, step.weight, step.percent)
		}
	}
}

func TestSlowStartHoldsBackVisitors(t *testing.T) {
	w := newWorld(t, balancer.Config{SlowStart: 100 * time.Second}, "a", "b")
	w.now += 200_000
	w.b.Tick(w.now)
	w.failCheck("a", 3)
	w.passCheck("a", 2)
	for range 110 {
		w.get(nil)
	}
	if n := w.up("a").Sessions(); n < 9 || n > 11 {
		t.Errorf("an upstream at a tenth of its weight got %d of 110 visitors, want 10", n)
	}
}

// An agent that is restarting takes no connections for a moment, while its
// instances live and keep their sessions.
func TestGraceForARestartingAgent(t *testing.T) {
	refused := balancer.Evidence{From: balancer.FromCheck, Code: "L4CON", Detail: "refused"}
	good := balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200}
	rules := balancer.HealthRules{Grace: 3 * time.Second, Restart: 15 * time.Second, Patience: time.Minute}
	f := func(name, member, want string, evidence balancer.Evidence, after ...int64) {
		t.Helper()
		w := newWorldOf(t, balancer.Config{Health: rules}, balancer.Spec{ID: "a", Member: member})
		u := w.up("a")
		for _, ms := range after {
			u.Observe(evidence, t0+ms)
		}
		if u.State().String() != want {
			t.Errorf("%s: %s (%s), want %s", name, u.State(), u.Health().Reason, want)
		}
		u.Observe(good, t0+60_000)
		u.Observe(good, t0+61_000)
		if u.State() != balancer.Up {
			t.Errorf("%s: then %s", name, u.State())
		}
		if u.Observe(refused, t0+62_000); u.State() == balancer.Down {
			t.Errorf("%s: an old doubt was kept", name)
		}
	}
	f("many failures in a moment", "server-1", "suspect", refused, 0, 10, 20, 30, 40, 2999)
	f("failures that last", "server-1", "down", refused, 0, 500, 1000, 3000)
	f("no agent", "", "down", refused, 0, 10, 20)
	told := balancer.Evidence{From: balancer.FromCheck, Code: "L4CON", Detail: "refused", Restarts: true}
	f("the agent has said so", "server-1", "suspect", told, 0, 500, 1000, 3000, 14_999)
	f("the agent has said so, and does not come back", "server-1", "down", told, 0, 500, 1000, 3000, 15_000)
	f("an answer that is wrong", "server-1", "down", balancer.Evidence{From: balancer.FromCheck, Code: "L7STS", Status: 500}, 0, 10, 20)
	rules.Patience = 10 * time.Second
	f("the agent has said so, and the patience is not over", "server-1", "suspect", told, 0, 500, 1000, 9999)
	f("the agent has said so, and the patience is over", "server-1", "down", told, 0, 500, 1000, 10_000)
	rules.Patience = 0
	f("the agent has said so, and no session is kept", "server-1", "suspect", told, 0, 500, 1000, 2999)
	f("the agent has said so, and no session is kept for longer", "server-1", "down", told, 0, 500, 1000, 3000)
}

// An instance that is busy for a few seconds takes connections and lets the checks
// wait. Its visitors stay; new ones go elsewhere meanwhile.
func TestSlowInstanceKeepsItsVisitors(t *testing.T) {
	late := balancer.Evidence{From: balancer.FromCheck, Code: "L7TOUT", Detail: "no answer in time"}
	f := func(name, member, want string, answered int64, after ...int64) {
		t.Helper()
		rules := balancer.HealthRules{Grace: 3 * time.Second, Slow: 10 * time.Second}
		w := newWorldOf(t, balancer.Config{Health: rules}, balancer.Spec{ID: "a", Member: member})
		v := w.cookie(0)
		for _, ms := range after {
			if answered > 0 && ms > answered {
				w.now, answered = t0+answered, 0
				w.get(v)
			}
			w.up("a").Observe(late, t0+ms)
		}
		if got := w.up("a").State().String(); got != want {
			t.Errorf("%s: %s (%s), want %s", name, got, w.up("a").Health().Reason, want)
		}
	}
	f("two seconds", "server-1", "suspect", 0, 0, 600, 1200, 1800)
	f("for too long", "server-1", "down", 0, 0, 600, 1200, 9000, 10_000)
	f("visitors are answered", "server-1", "suspect", 8000, 0, 600, 1200, 9000, 10_000, 17_900)
	f("then no more", "server-1", "down", 8000, 0, 600, 1200, 9000, 10_000, 18_000)
	f("no agent", "", "down", 0, 0, 600, 1200)
}

// On a busy machine the checks come late and fail, while visitors are answered.
func TestAnswersSpeakForAnInstanceWhoseChecksFail(t *testing.T) {
	f := func(name, want string, answered int64) {
		t.Helper()
		w := newWorldOf(t, balancer.Config{Health: balancer.HealthRules{Grace: 3 * time.Second}}, balancer.Spec{ID: "a", Member: "server-1"})
		v := w.cookie(0)
		for ms := int64(0); ms <= 4500; ms += 1500 {
			if w.now = t0 + ms; ms == 3000 && answered > 0 {
				w.now -= answered
				w.get(v)
				w.now += answered
			}
			w.up("a").Observe(balancer.Evidence{From: balancer.FromCheck, Code: "L4TOUT"}, w.now)
		}
		if got := w.up("a").State().String(); got != want {
			t.Errorf("%s: %s (%s), want %s", name, got, w.up("a").Health().Reason, want)
		}
	}
	f("nobody is answered", "down", 0)
	f("somebody is", "suspect", 100)
}

// TestAgentsCheckIsTakenForOne: where nothing speaks against it, a check that an agent tells of is what was found last; else the
// proxy is to look for itself.
func TestAgentsCheckIsTakenForOne(t *testing.T) {
	w := newWorldOf(t, balancer.Config{})
	w.update(balancer.Spec{ID: "a"})
	u := w.up("a")
	told := balancer.Evidence{From: balancer.FromStream, OK: true, Code: "L7OK", Status: 204}
	if !u.Observe(told, w.now).CheckNow {
		t.Error("an instance that was never checked was taken to be well")
	}
	u.Observe(balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200}, w.now)
	if e := u.Observe(told, w.now+500); e.CheckNow || u.Health().Last.Status != 204 || u.Health().LastAt != w.now+500 {
		t.Errorf("%+v, last %+v", e, u.Health().Last)
	}
	u.Observe(balancer.Evidence{From: balancer.FromTraffic}, w.now+600)
	if !u.Observe(told, w.now+700).CheckNow || u.Health().Last.Status != 204 || u.Health().LastAt != w.now+500 {
		t.Error("an instance that a visitor could not reach was taken to be well")
	}
	told.OK = false
	if !u.Observe(told, w.now+800).CheckNow {
		t.Error("the proxy does not look for itself where the agent's check failed")
	}
}
