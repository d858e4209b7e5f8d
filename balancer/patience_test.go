package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
)

var (
	silent    = balancer.Evidence{From: balancer.FromCheck, Code: "L4TOUT", Detail: "no connection in time"}
	refused   = balancer.Evidence{From: balancer.FromCheck, Code: "L4CON", Detail: "connection refused"}
	passed    = balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200}
	hasExited = balancer.Evidence{From: balancer.FromAgent, Exited: true}
)

// patient is a world of two instances whose sessions are kept for a minute.
func patient(t *testing.T, member string) *world {
	t.Helper()
	rules := balancer.HealthRules{Grace: 3 * time.Second, Slow: 10 * time.Second, Patience: time.Minute}
	return newWorldOf(t, balancer.Config{Health: rules}, balancer.Spec{ID: "a", Member: member}, balancer.Spec{ID: "b", Member: member})
}

// come is a request of a visitor at a moment, and how it went: the upstream's id, or why there is none.
func (w *world) come(cookie []byte, at time.Duration, patient bool) string {
	w.t.Helper()
	w.now = t0 + at.Milliseconds()
	c := w.pick(balancer.Request{Cookie: cookie, Patient: patient})
	defer w.p.Done(&c, balancer.Outcome{Now: w.now, Result: balancer.Refused})
	switch {
	case c.Await:
		return "held for " + c.Upstream.ID()
	case c.Upstream == nil:
		return c.None.String()
	case c.Trial:
		return "trial of " + c.Upstream.ID()
	}
	return c.Upstream.ID()
}

// TestPreviewOfAWait: while a request waits for an instance that keeps nothing for its visitor, it is foretold where it goes after that.
func TestPreviewOfAWait(t *testing.T) {
	rules := balancer.HealthRules{Grace: 3 * time.Second, Slow: 10 * time.Second, Patience: time.Minute}
	w := newWorldOf(t, balancer.Config{Health: rules}, balancer.Spec{ID: "a", Release: "1", Unpinned: true}, balancer.Spec{ID: "b", Release: "1", Unpinned: true})
	v := w.visitorOf("a")
	w.up("a").Observe(silent, w.now)
	waited := false
	for range 20 {
		w.now += 500
		w.up("a").Observe(silent, w.now)
		r := balancer.Request{Cookie: v, Patient: true, Now: w.now}
		l := w.p.Preview(&r)
		c := w.p.Picked(&r)
		if c.Await {
			if waited = true; l.Upstream == nil || l.Upstream.ID() != "b" || l.None != balancer.NoneReason {
				t.Errorf("it is foretold %+v", l)
			}
		}
		w.p.Done(&c, balancer.Outcome{Now: w.now, Result: balancer.Refused})
	}
	if !waited {
		t.Error("nothing waited")
	}
}

// A session waits for an instance that cannot be reached, with an agent or without, until the patience is
// over; then the instance is asked once more before the session is given up. New visitors go
// elsewhere all the while.
func TestSessionsWaitForTheirInstance(t *testing.T) {
	const away = "the instance that keeps the session cannot be reached"
	for _, member := range []string{"server-1", ""} {
		for name, e := range map[string]balancer.Evidence{"silent": silent, "refused": refused} {
			w := patient(t, member)
			v := w.visitorOf("a")
			f := func(want string, at time.Duration, patient bool) {
				t.Helper()
				if got := w.come(v, at, patient); got != want {
					t.Errorf("%s, agent %q, after %s: %q, want %q (%s)", name, member, at, got, want, w.up("a").Health().Reason)
				}
			}
			look := func(at time.Duration) (givenUp bool) {
				w.now = t0 + at.Milliseconds()
				return w.up("a").Observe(e, w.now).GivenUp
			}
			for at := time.Duration(0); at < 60*time.Second; at += 500 * time.Millisecond {
				if look(at) {
					t.Fatalf("%s: given up after %s", name, at)
				}
			}
			if w.up("a").State() != balancer.Down {
				t.Fatalf("%s: %s", name, w.up("a").State())
			}
			f("held for a", 59*time.Second, true)
			f(away, 59*time.Second, false)
			if c := w.pick(balancer.Request{}); c.Upstream != w.up("b") {
				t.Errorf("%s: a new visitor went to %+v", name, c)
			}
			if !look(60 * time.Second) {
				t.Errorf("%s: not given up after a minute", name)
			}
			f("trial of a", 60*time.Second, true)
			f("b", 60*time.Second, false)
		}
	}
}

// An instance that is back is no longer doubted, and the patience begins anew.
func TestAnInstanceThatComesBackKeepsItsSessions(t *testing.T) {
	w := patient(t, "")
	v := w.visitorOf("a")
	for at := int64(0); at < 50_000; at += 500 {
		w.up("a").Observe(silent, t0+at)
	}
	w.up("a").Observe(passed, t0+50_000)
	if got := w.come(v, 50*time.Second, true); got != "a" {
		t.Errorf("after the first check that passed: %s", got)
	}
	w.up("a").Observe(silent, t0+51_000)
	w.up("a").Observe(silent, t0+100_000)
	if got := w.come(v, 100*time.Second, false); got == "b" {
		t.Error("a doubt from before it was back counted")
	}
}

// Once the agent says that the process has ended there is nothing to wait for.
func TestAnExitEndsThePatience(t *testing.T) {
	w := patient(t, "server-1")
	v := w.visitorOf("a")
	w.up("a").Observe(refused, t0)
	if e := w.up("a").Observe(hasExited, t0+100); !e.GivenUp {
		t.Errorf("an exit leads to %+v", e)
	}
	if got := w.come(v, time.Second, true); got != "b" {
		t.Errorf("after the exit: %s", got)
	}
}

// An instance that can be reached and fails its checks by what it says gets its visitors as before: its process
// lives, and the path to it is open.
func TestBadChecksOfALivingInstance(t *testing.T) {
	w := patient(t, "")
	v := w.visitorOf("a")
	for at := int64(0); at < 300_000; at += 2000 {
		w.up("a").Observe(balancer.Evidence{From: balancer.FromCheck, Code: "L7STS", Status: 503}, t0+at)
		if w.now = t0 + at + 100; at > 10_000 {
			if c, _ := w.get(v); c.Upstream != w.up("a") {
				t.Fatalf("after %d ms: %+v, %s", at, c, w.up("a").Health().Reason)
			}
		}
	}
}

// The state of such an instance does not change with each visitor that it answers, and it is up again by its checks alone.
func TestAnswersOfAnInstanceWithBadChecksAreNoNews(t *testing.T) {
	w := patient(t, "server-1")
	v := w.visitorOf("a")
	u := w.up("a")
	bad := balancer.Evidence{From: balancer.FromCheck, Code: "L7STS", Status: 500}
	for at := int64(0); at < 300_000; at += 500 {
		u.Observe(bad, t0+at)
		w.now = t0 + at + 100
		c, _ := w.get(v)
		if c.Upstream != u {
			t.Fatalf("after %d ms the visitor is moved: %+v, %s", at, c, u.Health().Reason)
		}
		if at > 10_000 && u.State() != balancer.Down {
			t.Fatalf("after %d ms: %s, %s", at, u.State(), u.Health().Reason)
		}
	}
	if n := u.Health().Downs; n != 1 {
		t.Errorf("it fell %d times", n)
	}
	good := balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200}
	u.Observe(good, t0+300_000)
	u.Observe(good, t0+300_500)
	if u.State() != balancer.Up {
		t.Errorf("after two good checks: %s", u.State())
	}
}

// An answer to a request that has waited at an instance speaks for it, whatever the checks said
// meanwhile.
func TestAnAnswerSpeaksForAnInstanceThatIsDown(t *testing.T) {
	w := patient(t, "")
	v := w.visitorOf("a")
	c := w.pick(balancer.Request{Cookie: v})
	for at := int64(0); at <= 20_000; at += 500 {
		w.up("a").Observe(silent, t0+at)
	}
	w.now = t0 + 20_100
	w.done(&c)
	if got := w.come(v, 20_200*time.Millisecond, true); got != "a" {
		t.Errorf("the next request: %s", got)
	}
}

// What the proxy itself stood still is no time in which an instance did not answer.
func TestTheProxysOwnPauseIsNobodysFault(t *testing.T) {
	w := patient(t, "")
	w.up("a").Observe(silent, t0)
	w.up("a").Observe(silent, t0+500)
	w.up("a").Observe(silent, t0+1000)
	late := silent
	late.Lag = 100 * time.Second
	if e := w.up("a").Observe(late, t0+101_500); e.GivenUp {
		t.Error("a pause of the proxy ended the patience")
	}
	if e := w.up("a").Observe(silent, t0+162_000); !e.GivenUp {
		t.Error("an earlier pause goes on to count")
	}
}

// An instance leaves the pool while it cannot be reached: its visitors move, and hear why.
func TestAnInstanceThatLeavesWhileItIsAway(t *testing.T) {
	w := patient(t, "server-1")
	b := balancer.Spec{ID: "b", Member: "server-1"}
	w.update(b, balancer.Spec{ID: "new", Member: "server-1"}) // another proxy has sent somebody there
	v := w.visitorOf("new")
	for at := int64(0); at < 10_000; at += 500 {
		w.now = t0 + at
		w.up("new").Observe(silent, w.now)
	}
	w.update(b)
	c := w.pick(balancer.Request{Cookie: v, Patient: true})
	if c.Upstream != w.up("b") || c.Lost != balancer.CauseNetwork {
		t.Errorf("%+v", c)
	}
}
