package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/tests/support/race"
)

func TestAllocs(t *testing.T) {
	if race.Enabled {
		return
	}
	check := func(name string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	r := balancer.Request{Now: t0, Cookie: w.cookie(1)}
	check("Pick with a pin", func() {
		c := w.p.Picked(&r)
		w.p.Done(&c, balancer.Outcome{Now: t0, Status: 200, Total: time.Millisecond})
	})
	for _, policy := range sites.Policies() {
		w := newWorld(t, balancer.Config{Policy: policy, NotSticky: true}, "a", "b", "c")
		r := balancer.Request{Now: t0, Hash: 99}
		check("Pick by "+string(policy), func() {
			c := w.p.Picked(&r)
			w.p.Done(&c, balancer.Outcome{Now: t0, Status: 200, Total: time.Millisecond})
		})
	}
}
