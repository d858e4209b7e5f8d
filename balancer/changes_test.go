package balancer_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"portico/balancer"
)

// TestEveryChangeIsToldInOrder: only what checks had changed was told, so that the steps that requests, agents and
// time make were missing in the log: it went from "up" to "suspect … to up" without the one between.
func TestEveryChangeIsToldInOrder(t *testing.T) {
	for _, off := range []bool{false, true} {
		told := map[string][]balancer.Change{}
		var mu sync.Mutex
		b, err := balancer.New(balancer.Options{Keys: newKeys(), Changed: func(u *balancer.Upstream, c balancer.Change) {
			mu.Lock()
			defer mu.Unlock()
			told[u.Pool()+"/"+u.ID()] = append(told[u.Pool()+"/"+u.ID()], c)
		}})
		if err != nil {
			t.Fatal(err)
		}
		c := balancer.Config{Health: balancer.HealthRules{Off: off, Patience: 1 << 40}}
		p, err := b.NewPool("shop", []balancer.Spec{{ID: "a", Member: "m"}, {ID: "b"}}, c, t0)
		if err != nil {
			t.Fatal(err)
		}
		start := map[string]balancer.HealthState{}
		for _, u := range p.Upstreams() {
			start["shop/"+u.ID()] = u.State()
		}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 1))
				for i := range 2000 {
					u, now := p.Upstreams()[r.IntN(2)], t0+int64(i)*100
					if off && r.IntN(20) == 0 {
						b.Tick(now)
					}
					u.Observe(anyEvidence(r, off), now)
				}
			})
		}
		wg.Wait()
		for _, u := range p.Upstreams() {
			state, reasons := start["shop/"+u.ID()], map[string]bool{}
			for i, c := range told["shop/"+u.ID()] {
				if c.From != state || c.To == c.From || c.Reason == "" {
					t.Fatalf("checks off %v: %s was %v, and step %d is %+v", off, u.ID(), state, i, c)
				}
				state, reasons[c.Reason] = c.To, true
			}
			if state != u.State() {
				t.Errorf("checks off %v: %s is %v, and was last told to be %v", off, u.ID(), u.State(), state)
			}
			if n := len(reasons); n < 2 {
				t.Errorf("checks off %v: %s changed for %v only", off, u.ID(), reasons)
			}
		}
	}
}

// anyEvidence is what anybody may say of an upstream; without checks only requests speak.
func anyEvidence(r *rand.Rand, off bool) balancer.Evidence {
	e := balancer.Evidence{From: balancer.FromTraffic, OK: r.IntN(2) == 0, Detail: "connection refused"}
	if off {
		return e
	}
	switch r.IntN(4) {
	case 0:
		e.From = balancer.FromAgent
		e.Exited = !e.OK && r.IntN(10) == 0
	case 1, 2:
		e.From, e.Code = balancer.FromCheck, "L7OK"
		if !e.OK {
			e.Code = []string{"L4CON", "L7STS", "L7TOUT"}[r.IntN(3)]
		}
	}
	return e
}
