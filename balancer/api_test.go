package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/tests/support/seals"
)

const t0 = 1_700_000_000_000 // Unix milliseconds

func newKeys() []seal.Key {
	return []seal.Key{seals.NewKey(2, time.UnixMilli(t0)), seals.NewKey(1, time.UnixMilli(t0))}
}

func TestVisitStays(t *testing.T) {
	b, err := balancer.New(balancer.Options{Keys: newKeys()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.NewPool("shop", []balancer.Spec{{ID: "a"}, {ID: "b"}}, balancer.Config{}, t0)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range p.Upstreams() {
		u.Observe(balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200}, t0)
	}
	first := p.Picked(&balancer.Request{Now: t0})
	if first.Upstream == nil || !first.New || !first.Issue {
		t.Fatalf("first visit: %+v", first)
	}
	cookie := p.AppendCookie(nil, &first)
	p.Done(&first, balancer.Outcome{Now: t0, Status: 200})
	for range 10 {
		c := p.Picked(&balancer.Request{Now: t0, Cookie: cookie})
		if c.Upstream != first.Upstream || !c.Pinned || c.Issue || c.Session != first.Session {
			t.Fatalf("second visit: %+v, first was %+v", c, first)
		}
		p.Done(&c, balancer.Outcome{Now: t0, Status: 200})
	}
}
