package balancer_test

import (
	"strings"
	"testing"
	"time"

	"portico/balancer"
)

func exited(detail string) balancer.Evidence {
	return balancer.Evidence{From: balancer.FromAgent, Exited: true, Detail: detail}
}

func TestPinnedVisitorWhoseInstanceIs(t *testing.T) {
	f := func(name string, happen func(w *world), stays bool, cause balancer.Cause) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, balancer.Config{}, "a", "b", "c")
			cookie := w.visitorOf("a")
			if c, _ := w.get(cookie); c.Upstream.ID() != "a" || c.Lost != balancer.CauseNone {
				t.Fatalf("before: %+v", c)
			}
			happen(w)
			c, cookie2 := w.get(cookie)
			if c.Upstream == nil {
				t.Fatalf("nobody: %s", c.None)
			}
			if got := c.Upstream.ID() == "a"; got != stays || c.Lost != cause {
				t.Fatalf("on %s with cause %q, want stay %v, cause %q", c.Upstream.ID(), c.Lost, stays, cause)
			}
			if stays {
				return
			}
			if !c.Issue || c.LostFrom != "a" {
				t.Errorf("issue %v, lost from %q", c.Issue, c.LostFrom)
			}
			moved := c.Upstream
			// The old cookie (another tab) and the new one both lead there, and
			// nothing is told twice, even when the first instance is well again.
			for _, k := range [][]byte{cookie, cookie2} {
				if c, _ := w.get(k); c.Upstream != moved || c.Lost != balancer.CauseNone {
					t.Errorf("again: on %s, cause %q", c.Upstream.ID(), c.Lost)
				}
			}
			if w.p.Upstream("a") != nil {
				w.up("a").SetAdmin(balancer.AdminReady, "", w.now)
				w.passCheck("a", 5)
			}
			for _, k := range [][]byte{cookie, cookie2} {
				if c, _ := w.get(k); c.Upstream != moved {
					t.Errorf("failed back to %s", c.Upstream.ID())
				}
			}
			if n := w.p.Snapshot(w.now).Lost[cause.String()]; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
	f("up", func(*world) {}, true, balancer.CauseNone)
	f("draining", func(w *world) { w.up("a").SetAdmin(balancer.AdminDrain, "", t0) }, true, balancer.CauseNone)
	f("retiring", func(w *world) {
		w.update(balancer.Spec{ID: "a", Retiring: true}, balancer.Spec{ID: "b"}, balancer.Spec{ID: "c"})
	}, true, balancer.CauseNone)
	f("failing, not down", func(w *world) { w.failCheck("a", 2) }, true, balancer.CauseNone)
	f("suspect", func(w *world) {
		w.up("a").Observe(balancer.Evidence{From: balancer.FromTraffic, Detail: "refused"}, t0)
	}, true, balancer.CauseNone)
	f("silent in gossip", func(w *world) { w.up("a").Observe(balancer.Evidence{From: balancer.FromGossip}, t0) }, true, balancer.CauseNone)
	f("in maintenance", func(w *world) { w.up("a").SetAdmin(balancer.AdminMaint, "", t0) }, false, balancer.CauseOperator)
	f("down by checks", func(w *world) { w.failCheck("a", 3) }, false, balancer.CauseMember)
	f("exited", func(w *world) { w.up("a").Observe(exited("killed"), t0) }, false, balancer.CauseExited)
	f("gone", func(w *world) { w.update(balancer.Spec{ID: "b"}, balancer.Spec{ID: "c"}) }, false, balancer.CauseExited)
	f("gone by its deadline", func(w *world) {
		w.up("a").SetEnd(balancer.CauseDeadline)
		w.update(balancer.Spec{ID: "b"}, balancer.Spec{ID: "c"})
	}, false, balancer.CauseDeadline)
	f("gone while retiring", func(w *world) {
		w.update(balancer.Spec{ID: "a", Retiring: true}, balancer.Spec{ID: "b"}, balancer.Spec{ID: "c"})
		w.update(balancer.Spec{ID: "b"}, balancer.Spec{ID: "c"})
	}, false, balancer.CauseDeadline)
	f("gone after maintenance", func(w *world) {
		w.up("a").SetAdmin(balancer.AdminMaint, "", t0)
		w.update(balancer.Spec{ID: "b"}, balancer.Spec{ID: "c"})
	}, false, balancer.CauseOperator)
	f("marked to move", func(w *world) {
		list, _ := w.b.Sessions().List(w.p.Name(), 10, nil)
		if len(list) != 1 || !w.b.Sessions().Move(list[0].ID) {
			t.Error("no session to move")
		}
	}, false, balancer.CauseOperator)
}

func TestUnreachableInstance(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b")
	cookie := w.visitorOf("a")
	refused := balancer.Outcome{Now: t0, Result: balancer.ConnectFailed, Detail: "refused"}

	// An impatient caller moves the visitor at the second attempt.
	c := w.pick(balancer.Request{Cookie: cookie})
	if e := w.p.Done(&c, refused); !e.CheckNow || e.To != balancer.Suspect {
		t.Fatalf("a failed connection leads to %+v", e)
	}
	r := balancer.Request{Cookie: cookie, Exclude: []*balancer.Upstream{w.up("a")}}
	r.Patient = true
	c = w.pick(r)
	if !c.Await || c.Upstream.ID() != "a" || c.Admitted() || c.Lost != balancer.CauseNone {
		t.Fatalf("a patient caller got %+v", c)
	}
	told := 0
	c.Upstream.Tell(func() { told++ })
	c.Upstream.Tell(func() { t.Error("told although he forgot it") })()
	if told != 0 {
		t.Fatal("news without a check")
	}
	w.passCheck("a", 1)
	if told != 1 {
		t.Fatalf("told %d times", told)
	}
	c = w.pick(balancer.Request{Cookie: cookie})
	if c.Upstream.ID() != "a" || c.Lost != balancer.CauseNone {
		t.Fatalf("after a good check: %+v", c)
	}
	w.done(&c)

	r.Patient = false
	c = w.pick(r)
	if c.Upstream.ID() != "b" || c.Lost != balancer.CauseNetwork {
		t.Fatalf("an impatient caller got %+v", c)
	}
	// The second one fails as well: the visitor has not moved.
	w.p.Done(&c, refused)
	w.passCheck("b", 1)
	if c, _ = w.get(cookie); c.Upstream.ID() != "a" || c.Lost != balancer.CauseNone {
		t.Fatalf("after a move that came to nothing: %+v", c)
	}
}

// TestMoveThatFailsTwice holds what the simulator found: the target of a move that
// never answered must not be taken for the session's place later.
func TestMoveThatFailsTwice(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 40 * time.Minute}, "a", "b")
	cookie := w.visitorOf("a")
	w.get(cookie)
	w.up("a").SetEnd(balancer.CauseDeadline)
	w.update(balancer.Spec{ID: "b"})
	w.now += (15 * time.Minute).Milliseconds() // the cookie is to be issued anew
	for range 3 {
		r := balancer.Request{Cookie: cookie}
		c := w.pick(r)
		if c.Upstream.ID() != "b" || c.Lost != balancer.CauseDeadline {
			t.Fatalf("moved to %+v", c)
		}
		w.p.Done(&c, balancer.Outcome{Now: w.now, Result: balancer.ConnectFailed})
		r.Exclude = append(r.Exclude, c.Upstream)
		if c = w.pick(r); c.Upstream != nil {
			t.Fatalf("tried again: %+v", c)
		}
		w.p.Done(&c, balancer.Outcome{Now: w.now, Result: balancer.Refused})
		w.passCheck("b", 1)
	}
	if n := w.up("b").Sessions(); n != 0 {
		t.Errorf("counts %d sessions that never came", n)
	}
	if c, _ := w.get(cookie); c.Lost != balancer.CauseDeadline {
		t.Errorf("told %q in the end", c.Lost)
	}
}

func TestIdleConnectionIsNoEvidence(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a")
	c := w.pick(balancer.Request{})
	if e := w.p.Done(&c, balancer.Outcome{Now: t0, Result: balancer.ResponseFailed, Reused: true}); e.Changed || w.up("a").State() != balancer.Up {
		t.Errorf("a reset of an idle connection led to %+v", e)
	}
}

func TestWhoTakesNewVisitors(t *testing.T) {
	f := func(name string, c balancer.Config, specs []balancer.Spec, happen func(w *world), want string) {
		t.Helper()
		w := newWorldOf(t, c, specs...)
		if happen != nil {
			happen(w)
		}
		got := map[string]bool{}
		none := balancer.NoneReason
		open := false
		for range 60 {
			c := w.pick(balancer.Request{})
			if c.Upstream == nil {
				none = c.None
				continue
			}
			open = open || c.FailOpen
			got[c.Upstream.ID()] = true
			w.done(&c)
		}
		text := ""
		for _, s := range specs {
			if got[s.ID] {
				text += s.ID
			}
		}
		if open {
			text += " fail open"
		}
		if none != balancer.NoneReason {
			text += none.String()
		}
		if text != want {
			t.Errorf("%s: %q, want %q", name, text, want)
		}
	}
	abc := []balancer.Spec{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	all := func(do func(u *balancer.Upstream)) func(*world) {
		return func(w *world) {
			for _, u := range w.p.Upstreams() {
				do(u)
			}
		}
	}
	f("all up", balancer.Config{}, abc, nil, "abc")
	f("one drains", balancer.Config{}, abc, func(w *world) { w.up("b").SetAdmin(balancer.AdminDrain, "", t0) }, "ac")
	f("one in maintenance", balancer.Config{}, abc, func(w *world) { w.up("b").SetAdmin(balancer.AdminMaint, "", t0) }, "ac")
	f("one suspect", balancer.Config{}, abc, func(w *world) { w.up("a").Observe(balancer.Evidence{From: balancer.FromTraffic}, t0) }, "bc")
	f("one down", balancer.Config{}, abc, func(w *world) { w.failCheck("c", 3) }, "ab")
	f("one new and not verified", balancer.Config{}, []balancer.Spec{{ID: "a"}, {ID: "b"}, {ID: "new"}}, func(w *world) {
		w.update(balancer.Spec{ID: "a"}, balancer.Spec{ID: "b"})
		w.update(balancer.Spec{ID: "a"}, balancer.Spec{ID: "b"}, balancer.Spec{ID: "new"})
	}, "ab")
	f("one retires", balancer.Config{}, []balancer.Spec{{ID: "a"}, {ID: "b", Retiring: true}}, nil, "a")
	f("a backup waits", balancer.Config{}, []balancer.Spec{{ID: "a"}, {ID: "b", Backup: true}}, nil, "a")
	f("a backup helps", balancer.Config{}, []balancer.Spec{{ID: "a"}, {ID: "b", Backup: true}}, func(w *world) { w.failCheck("a", 3) }, "b")
	f("the near zone", balancer.Config{Zone: "x"}, []balancer.Spec{{ID: "a", Zone: "x"}, {ID: "b", Zone: "y"}}, nil, "a")
	f("the far zone", balancer.Config{Zone: "x"}, []balancer.Spec{{ID: "a", Zone: "x"}, {ID: "b", Zone: "y"}}, func(w *world) { w.failCheck("a", 3) }, "b")
	f("far before near backup", balancer.Config{Zone: "x"}, []balancer.Spec{{ID: "a", Zone: "x", Backup: true}, {ID: "b", Zone: "y"}}, nil, "b")
	f("all down", balancer.Config{}, abc, all(func(u *balancer.Upstream) {
		for range 3 {
			u.Observe(balancer.Evidence{From: balancer.FromCheck}, t0)
		}
	}), "abc fail open")
	f("all down, one only suspect", balancer.Config{}, abc, func(w *world) {
		w.failCheck("a", 3)
		w.failCheck("b", 3)
		w.up("c").Observe(balancer.Evidence{From: balancer.FromTraffic}, t0)
	}, "c fail open")
	f("all exited", balancer.Config{}, abc, all(func(u *balancer.Upstream) { u.Observe(exited(""), t0) }), "all instances down")
	f("all in maintenance", balancer.Config{}, abc, all(func(u *balancer.Upstream) { u.SetAdmin(balancer.AdminMaint, "", t0) }), "all instances draining")
	f("all drain", balancer.Config{}, abc, all(func(u *balancer.Upstream) { u.SetAdmin(balancer.AdminDrain, "", t0) }), "all instances draining")
	f("none", balancer.Config{}, nil, nil, "no instance")
}

func TestNoFailOpenForPinned(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b")
	cookie := w.visitorOf("a")
	w.failCheck("a", 3)
	w.failCheck("b", 3)
	// Its own instance may still live, and is the only one that helps.
	if c, _ := w.get(cookie); c.Upstream == nil || c.Upstream.ID() != "a" || !c.FailOpen || c.Lost != balancer.CauseNone {
		t.Errorf("all down: %+v", c)
	}
	w.up("a").Observe(exited(""), t0)
	// The state is nowhere now, so any instance that may answer is as good.
	r := balancer.Request{Cookie: cookie}
	c := w.pick(r)
	if c.Upstream == nil || c.Upstream.ID() != "b" || !c.FailOpen || c.Lost != balancer.CauseExited || !c.Issue {
		t.Fatalf("own instance exited, the other down: %+v", c)
	}
	w.p.Done(&c, balancer.Outcome{Now: w.now, Result: balancer.ConnectFailed})
	r.Exclude = []*balancer.Upstream{c.Upstream}
	if c := w.pick(r); c.Upstream != nil {
		t.Errorf("nobody is left: %+v", c)
	}
	w.passCheck("b", 2)
	if c, _ := w.get(cookie); c.Upstream == nil || c.Upstream.ID() != "b" || c.Lost != balancer.CauseExited {
		t.Errorf("another came up: %+v", c)
	}
}

// After a restart of everything nobody has been checked yet, and nobody knows the
// instance of the cookie: its visitor gets an answer like everybody else.
func TestLostWhileNobodyIsVerified(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b")
	cookie := w.visitorOf("a")
	var err error
	if w.b, err = balancer.New(balancer.Options{Keys: w.keys}); err != nil {
		t.Fatal(err)
	}
	if w.p, err = w.b.NewPool("shop", []balancer.Spec{{ID: "c"}, {ID: "d"}}, w.c, t0); err != nil {
		t.Fatal(err)
	}
	first, cookie := w.get(cookie)
	if first.Upstream == nil || first.Lost != balancer.CauseUnknown || !first.FailOpen {
		t.Fatalf("%+v", first)
	}
	if again, _ := w.get(cookie); again.Upstream != first.Upstream || again.Lost != balancer.CauseNone || again.Session != first.Session {
		t.Errorf("then %+v", again)
	}
}

func TestUnpinnedSiteLosesNothing(t *testing.T) {
	w := newWorldOf(t, balancer.Config{},
		balancer.Spec{ID: "a1", Release: "1", Unpinned: true}, balancer.Spec{ID: "b1", Release: "1", Unpinned: true, Retiring: true},
		balancer.Spec{ID: "c2", Release: "2", Unpinned: true})
	cookie := w.visitorOf("a1")
	if n, _, _ := w.p.Load("a1", t0); n != 0 {
		t.Errorf("a1 has to wait for %d sessions", n)
	}
	w.up("a1").Observe(exited(""), t0)
	c, cookie := w.get(cookie)
	if n, _, _ := w.p.Load("b1", t0); n != 1 {
		t.Errorf("the former release may go with %d visitors, whose pages need its files", n)
	}
	if c.Upstream.ID() != "b1" || c.Lost != balancer.CauseNone || !c.Issue {
		t.Fatalf("want the same release on another instance, got %+v", c)
	}
	w.up("b1").Observe(exited(""), t0)
	if c, _ = w.get(cookie); c.Upstream.ID() != "c2" || c.Lost != balancer.CauseNone {
		t.Fatalf("no instance of the release is left: %+v", c)
	}
}

func TestCeilingOfSessions(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 3}, balancer.Spec{ID: "b", MaxSessions: 2})
	var cookies [][]byte
	for range 5 {
		_, cookie := w.get(nil)
		cookies = append(cookies, cookie)
	}
	if w.up("a").Sessions() != 3 || w.up("b").Sessions() != 2 {
		t.Fatalf("placed %d and %d", w.up("a").Sessions(), w.up("b").Sessions())
	}
	if c, _ := w.get(nil); c.Upstream != nil || c.None != balancer.NoneFull {
		t.Errorf("a sixth visitor: %+v", c)
	}
	for _, cookie := range cookies {
		if c, _ := w.get(cookie); c.Upstream == nil || !c.Pinned {
			t.Errorf("one who is in: %+v", c)
		}
	}
	w.b.Sessions().End(func() uint64 { c, _ := w.get(cookies[0]); return c.Session }())
	if c, _ := w.get(nil); c.Upstream == nil {
		t.Errorf("after one has left: %s", c.None)
	}
}

func TestUpdateRefuses(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a")
	if err := w.p.Update([]balancer.Spec{{ID: "a"}, {ID: "a"}}, balancer.Config{}, t0); err == nil {
		t.Error("two upstreams with one id were taken")
	}
	err := w.p.Update(nil, balancer.Config{Policy: "leastconn"}, t0)
	if err == nil || !strings.Contains(err.Error(), `"least-connections"`) {
		t.Errorf("an unknown policy: %v", err)
	}
	if w.p.Upstream("a") == nil {
		t.Error("an error changed the pool")
	}
}
