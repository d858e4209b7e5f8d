package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
	"portico/conf/sites"
)

// TestPlaceIsGivenBack: a visitor has his place before the table has said where his session is. When it
// is elsewhere, or was ended, the place at the instance that the cookie names is free again, also for who waits.
func TestPlaceIsGivenBack(t *testing.T) {
	specs := []balancer.Spec{{ID: "a", MaxConns: 1}, {ID: "b", MaxConns: 1}}
	for name, elsewhere := range map[string]func(w *world, id uint64, own *balancer.Upstream, cookie []byte){
		"moved": func(w *world, _ uint64, own *balancer.Upstream, cookie []byte) {
			w.failCheck(own.ID(), 3)
			if _, moved := w.get(cookie); string(moved) == string(cookie) {
				t.Fatal("not moved")
			}
			w.passCheck(own.ID(), 3)
		},
		"ended":       func(w *world, id uint64, _ *balancer.Upstream, _ []byte) { w.b.Sessions().End(id) },
		"to be moved": func(w *world, id uint64, _ *balancer.Upstream, _ []byte) { w.b.Sessions().Move(id) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOf(t, balancer.Config{Policy: sites.PolicyRoundRobin}, specs...)
			first, cookie := w.get(nil)
			own := first.Upstream
			elsewhere(w, first.Session, own, cookie)
			w.pass(time.Second)
			sent := own.Rate.Total()
			c := w.pick(balancer.Request{Cookie: cookie})
			if c.Upstream == own && name != "ended" {
				t.Fatalf("went to %s: %+v", own.ID(), c)
			}
			if in := own.InFlight(); c.Upstream != own && (in != 0 || own.Rate.Total() != sent) {
				t.Errorf("%d requests are at %s, %d were counted: %+v", in, own.ID(), own.Rate.Total()-sent, c)
			}
			if c.Upstream.InFlight() != 1 || !c.Admitted() || c.Queue {
				t.Errorf("%d requests are at %s: %+v", c.Upstream.InFlight(), c.Upstream.ID(), c)
			}
			w.done(&c)
			for _, u := range w.p.Upstreams() {
				if u.InFlight() != 0 {
					t.Errorf("%d requests are left at %s", u.InFlight(), u.ID())
				}
			}
		})
	}
}
