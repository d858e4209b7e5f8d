package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
)

// A request that cannot bring a cookie back begins no session, takes no seat, and goes on
// while all are taken.
func TestFleetingRequestsTakeNoSeat(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 2})
	for range 10 {
		c := w.pick(balancer.Request{Fleeting: true, Visitor: 7})
		if c.Upstream == nil || c.New || c.Issue || c.Session != 0 {
			t.Fatalf("a preflight: %+v", c)
		}
		w.done(&c)
	}
	if n := w.up("a").Sessions(); n != 0 {
		t.Fatalf("%d sessions of preflights", n)
	}
	w.cookie(1)
	w.cookie(2)
	if c := w.pick(balancer.Request{}); c.None != balancer.NoneFull {
		t.Fatalf("a third visitor: %+v", c)
	}
	if c := w.pick(balancer.Request{Fleeting: true}); c.Upstream == nil {
		t.Fatalf("a preflight at a full site: %+v", c)
	}
}

// Robots that ignore cookies hold their seats for half a minute; visitors who came back keep theirs. A
// visitor who comes back after that goes on, and has a seat again.
func TestWhoNeverComesBackHoldsNoSeat(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 3})
	person := w.cookie(0)
	w.get(person)
	late := w.cookie(1)
	w.cookie(2)
	full := func(want bool) {
		t.Helper()
		c := w.pick(balancer.Request{Fleeting: false})
		if got := c.None == balancer.NoneFull; got != want {
			t.Errorf("full: %v, want %v: %+v", got, want, c)
		}
		w.p.Done(&c, balancer.Outcome{Now: w.now, Result: balancer.Refused})
	}
	full(true)
	w.now += 29_000
	w.b.Sessions().SweepAll(w.now)
	full(true)
	w.now += 2_000
	w.b.Sessions().SweepAll(w.now)
	full(false)
	if n := w.up("a").Sessions(); n != 3 {
		t.Errorf("%d sessions are counted", n)
	}
	w.cookie(3)
	w.cookie(4)
	full(true) // the person and the two
	if c, _ := w.get(late); c.Upstream == nil || !c.Pinned {
		t.Errorf("who came back late: %+v", c)
	}
	w.now += time.Hour.Milliseconds()
	w.b.Sessions().SweepAll(w.now)
	if n := w.up("a").Sessions(); n != 0 {
		t.Errorf("%d sessions in the end", n)
	}
	for i := range 3 {
		w.cookie(10 + i)
	}
	full(true)
}
