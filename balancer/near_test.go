package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
	"portico/conf/sites"
)

// TestNear: a visitor without a session whose client has a connection of its own to an instance goes there, unless it takes nobody.
func TestNear(t *testing.T) {
	for _, sticky := range []bool{true, false} {
		w := newWorldOf(t, balancer.Config{Policy: sites.PolicyRoundRobin, NotSticky: !sticky}, balancer.Spec{ID: "a"}, balancer.Spec{ID: "b", MaxConns: 1}, balancer.Spec{ID: "c"})
		b := w.up("b")
		for range 7 {
			c := w.pick(balancer.Request{Near: b, Visitor: 7})
			if c.Upstream != b {
				t.Errorf("sticky=%v: went to %s", sticky, c.Upstream.ID())
			}
			w.done(&c)
			w.pass(time.Second)
		}
		held := w.pick(balancer.Request{Near: b})
		if c := w.pick(balancer.Request{Near: b}); c.Upstream != b || !c.Queue {
			t.Errorf("sticky=%v: waits for its turn there: %+v", sticky, c)
		}
		w.done(&held)
		if c := w.pick(balancer.Request{Near: b, Exclude: []*balancer.Upstream{b}}); c.Upstream == b {
			t.Errorf("sticky=%v: tried there already", sticky)
		}
		w.failCheck("b", 3)
		if c := w.pick(balancer.Request{Near: b}); c.Upstream == b {
			t.Errorf("sticky=%v: it is down", sticky)
		}
		if own, cookie := w.get(nil); sticky {
			if c := w.pick(balancer.Request{Near: w.up("c"), Cookie: cookie}); c.Upstream != own.Upstream {
				t.Errorf("a session comes first: went to %s", c.Upstream.ID())
			}
		}
	}
}
