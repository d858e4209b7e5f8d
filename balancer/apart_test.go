package balancer_test

import (
	"slices"
	"testing"
	"time"

	"portico/balancer"
)

// What the simulator found with proxies whose views differ, and with learned tokens.

// TestOldCookieIsCountedToItsEnd: whoever comes with a cookie from before a move gets another, which
// must not outlive the count: an instance would look empty while somebody can still come back to it.
func TestOldCookieIsCountedToItsEnd(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 40 * time.Minute}, "a", "b")
	first, before := w.get(nil)
	w.pass(time.Minute)
	w.failCheck(first.Upstream.ID(), 3)
	moved, _ := w.get(before)
	w.pass(9 * time.Minute) // not a quarter of the idle time: nothing else would renew the cookie
	again, late := w.get(before)
	if again.Upstream != moved.Upstream || !again.Issue {
		t.Fatalf("with the cookie from before: %+v", again)
	}
	w.pass(41*time.Minute + 30*time.Second)
	w.b.Sessions().SweepAll(w.now)
	n := moved.Upstream.Sessions()
	c, _ := w.get(late)
	if alive := !c.New; alive && n != 1 || !alive && n != 0 {
		t.Errorf("counted %d sessions, and the cookie leads to %+v", n, c)
	}
}

// TestTokenFollowsMoveOfAnotherProxy: a proxy learns from the cookie that another one has moved
// the session, and then the token leads where the session is.
func TestTokenFollowsMoveOfAnotherProxy(t *testing.T) {
	here, there := newWorld(t, balancer.Config{}, "a", "b"), newWorld(t, balancer.Config{}, "a", "b")
	if err := there.b.SetKeys(here.keys, there.now); err != nil {
		t.Fatal(err)
	}
	app := here.b.HashApp([]byte("T1"))
	visit := func(w *world, cookie []byte) (balancer.Choice, []byte) {
		c := w.pick(balancer.Request{Cookie: cookie, App: app})
		if c.Issue {
			cookie = w.p.AppendCookie(nil, &c)
		}
		w.p.Refresh(&c, app, w.now)
		w.done(&c)
		return c, cookie
	}
	first, cookie := visit(here, nil)
	there.failCheck(first.Upstream.ID(), 3)
	here.pass(time.Minute)
	there.pass(time.Minute)
	moved, cookie := visit(there, cookie)
	if moved.Upstream.ID() == first.Upstream.ID() || moved.Lost == balancer.CauseNone {
		t.Fatalf("there: %+v", moved)
	}
	if c, _ := visit(here, cookie); c.Upstream.ID() != moved.Upstream.ID() {
		t.Fatalf("with the new cookie: %+v", c)
	}
	if c, _ := visit(here, nil); c.Upstream.ID() != moved.Upstream.ID() {
		t.Errorf("with the token alone: %+v, the session is on %s", c, moved.Upstream.ID())
	}
}

// TestTokenFollowsFromInstanceThatIsGone: an instance that has left holds no token.
func TestTokenFollowsFromInstanceThatIsGone(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	app := w.b.HashApp([]byte("T1"))
	first, cookie := w.get(nil)
	w.p.Learn(&first, app, w.now)
	var rest []balancer.Spec
	for _, s := range w.spec {
		if s.ID != first.Upstream.ID() {
			rest = append(rest, s)
		}
	}
	w.update(rest...)
	c := w.pick(balancer.Request{Cookie: cookie, App: app})
	w.p.Refresh(&c, app, w.now)
	w.done(&c)
	if got := w.pick(balancer.Request{App: app}); got.Upstream != c.Upstream || !got.Pinned {
		t.Errorf("with the token alone: %+v, the session is on %s", got, c.Upstream.ID())
	}
}

// TestDeclinedBurst: parallel first requests to an application that opens no session are no session,
// and one is enough to make it one, in whatever order the answers come.
func TestDeclinedBurst(t *testing.T) {
	const visitor = 4711
	for opens := range 4 { // which of the answers opens a session; 3: none
		w := newWorld(t, balancer.Config{}, "a", "b")
		var burst []balancer.Choice
		for range 3 {
			burst = append(burst, w.pick(balancer.Request{Visitor: visitor}))
		}
		issued := 0
		for i := range burst {
			if i == opens {
				w.p.Learn(&burst[i], w.b.HashApp([]byte("T1")), w.now)
			} else {
				w.p.Decline(&burst[i])
			}
			if burst[i].Issue {
				issued++
			}
			w.done(&burst[i])
		}
		if n := w.up("a").Sessions() + w.up("b").Sessions(); n != issued || issued > 1 || opens < 3 && issued != 1 {
			t.Errorf("answer %d opens a session: %d cookies, %d sessions are counted", opens, issued, n)
		}
	}
}

// TestBurstOnAGuess: while no instance is known to be up, the first requests of a new visitor go to
// one that may be, and all to the same.
func TestBurstOnAGuess(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c", "d")
	for _, u := range w.p.Upstreams() {
		w.failCheck(u.ID(), 3)
	}
	for visitor := range uint64(20) {
		var burst []balancer.Choice
		for range 3 {
			burst = append(burst, w.pick(balancer.Request{Visitor: visitor + 1}))
		}
		for i := range burst {
			if c := &burst[i]; c.Upstream == nil || c.Upstream != burst[0].Upstream || c.Session != burst[0].Session {
				t.Fatalf("request %d of visitor %d went to %+v, the first to %+v", i, visitor, c, burst[0])
			}
			w.done(&burst[i])
		}
	}
}

// TestYoungerCookieOfALostSession: a cookie whose time is over by itself, of a session that lives on by a younger
// one, is a visit of that session. So its visitor is told when the instance is gone: the younger cookie may be
// in another tab, and the state is lost for both. When the table has forgotten the session he is a new visitor.
func TestYoungerCookieOfALostSession(t *testing.T) {
	for _, swept := range []bool{false, true} {
		w := newWorld(t, balancer.Config{Idle: 10 * time.Minute}, "a", "b")
		first, old := w.get(nil)
		w.pass(3 * time.Minute)
		if again, _ := w.get(old); !again.Issue {
			t.Fatalf("no younger cookie: %+v", again)
		}
		w.pass(10 * time.Minute)
		first.Upstream.SetEnd(balancer.CauseDeadline)
		w.update(slices.DeleteFunc(slices.Clone(w.spec), func(s balancer.Spec) bool { return s.ID == first.Upstream.ID() })...)
		if swept {
			w.b.Sessions().SweepAll(w.now)
		}
		c := w.pick(balancer.Request{Cookie: old})
		if told := c.Lost == balancer.CauseDeadline && c.Session == first.Session && !c.New; told == swept || c.New != swept {
			t.Errorf("swept %v: %+v", swept, c)
		}
		w.done(&c)
	}
}

// TestCutOffProxyOutlivesAGrave: a proxy that has not heard of the end of an instance goes on to issue cookies for
// it, for hours. The others still know how it ended.
func TestCutOffProxyOutlivesAGrave(t *testing.T) {
	cut, here := newWorld(t, balancer.Config{Idle: 10 * time.Minute}, "a", "b"), newWorld(t, balancer.Config{Idle: 10 * time.Minute}, "a", "b")
	if err := here.b.SetKeys(cut.keys, here.now); err != nil {
		t.Fatal(err)
	}
	first, cookie := cut.get(nil)
	here.up(first.Upstream.ID()).SetEnd(balancer.CauseDeadline)
	rest := slices.DeleteFunc(slices.Clone(here.spec), func(s balancer.Spec) bool { return s.ID == first.Upstream.ID() })
	here.update(rest...)
	for range 40 {
		cut.pass(5 * time.Minute)
		here.pass(5 * time.Minute)
		_, cookie = cut.get(cookie)
	}
	here.update(append(rest, balancer.Spec{ID: "c"})...)
	here.update(rest...)
	if c, _ := here.get(cookie); c.Lost != balancer.CauseDeadline || c.LostFrom != first.Upstream.ID() {
		t.Errorf("after hours of another proxy's visits: %+v", c)
	}
}

// TestUnansweredVisitPromisesNothing: a visit that found nobody brought no cookie, so nothing may look newer than the
// cookie that came. Otherwise a proxy that hears late of the instance to which another one has moved the
// session would take that cookie for one from before, and lose the session a second time.
func TestUnansweredVisitPromisesNothing(t *testing.T) {
	config := balancer.Config{Idle: 40 * time.Minute}
	here, there := newWorld(t, config, "a", "b"), newWorld(t, config, "a", "b", "c")
	there.update(balancer.Spec{ID: "a"}, balancer.Spec{ID: "c"})
	there.passAll()
	here.update(balancer.Spec{ID: "a"})
	if err := there.b.SetKeys(here.keys, there.now); err != nil {
		t.Fatal(err)
	}
	first, cookie := here.get(nil)
	here.pass(time.Minute)
	there.pass(time.Minute)
	there.failCheck("a", 3)
	moved, cookie := there.get(cookie)
	if moved.Upstream.ID() != "c" || moved.Session != first.Session {
		t.Fatalf("there: %+v", moved)
	}
	here.update(balancer.Spec{ID: "a", Retiring: true})
	here.pass(20 * time.Minute) // more than a quarter of the idle time: an answer would bring another cookie
	if nobody, _ := here.get(cookie); nobody.Upstream != nil {
		t.Fatalf("here, where nobody is up: %+v", nobody)
	}
	here.update(balancer.Spec{ID: "a"}, balancer.Spec{ID: "c"})
	here.passAll()
	if c, _ := here.get(cookie); c.Upstream.ID() != "c" || !c.Pinned || c.Lost != balancer.CauseNone {
		t.Errorf("once it has heard of the instance: %+v", c)
	}
}
