package balancer_test

import (
	"testing"

	"portico/balancer"
)

// After another upstream has joined, sessions leave the full one when their visitors
// have logged out, no faster than the budget allows, and no more than make it even.
func TestRebalanceAtSafeMoments(t *testing.T) {
	w := newWorld(t, balancer.Config{Rebalance: 60}, "old")
	cookies := make([][]byte, 400)
	for i := range cookies {
		cookies[i] = w.cookie(i)
	}
	w.update(balancer.Spec{ID: "old"}, balancer.Spec{ID: "new"})
	w.passAll()
	logout := func(i int) bool {
		c := w.pick(balancer.Request{Cookie: cookies[i]})
		away := w.p.Over(&c, 0, w.now)
		w.done(&c)
		if away {
			var fresh balancer.Choice
			if fresh, cookies[i] = w.get(nil); fresh.Upstream.ID() != "new" {
				t.Errorf("who left went to %s", fresh.Upstream.ID())
			}
		}
		return away
	}
	moved := 0
	for i := range 100 {
		if logout(i) {
			moved++
		}
	}
	if moved < 1 || moved > 6 {
		t.Errorf("%d moved at once, the budget is one a second and five in store", moved)
	}
	for i := range cookies {
		w.now += 1000
		logout(i)
	}
	old, young := w.up("old").Sessions(), w.up("new").Sessions()
	if old+young != 400 || old > 260 || old < 200 {
		t.Errorf("%d and %d in the end", old, young)
	}
}

func TestNobodyMovesWithoutBudget(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "old")
	cookies := make([][]byte, 100)
	for i := range cookies {
		cookies[i] = w.cookie(i)
	}
	w.update(balancer.Spec{ID: "old"}, balancer.Spec{ID: "new"})
	w.passAll()
	for _, cookie := range cookies {
		c := w.pick(balancer.Request{Cookie: cookie})
		if w.p.Over(&c, 0, w.now) || c.Upstream.ID() != "old" {
			t.Fatal("one moved")
		}
		w.done(&c)
	}
	// A drain needs no budget: whoever has logged out need not come back there.
	w.up("old").SetAdmin(balancer.AdminDrain, "", w.now)
	c := w.pick(balancer.Request{Cookie: cookies[0]})
	if !w.p.Over(&c, 0, w.now) || c.Issue || w.up("old").Sessions() != 99 {
		t.Errorf("a drain keeps who has logged out: %+v, %d sessions", c, w.up("old").Sessions())
	}
	w.done(&c)
}
