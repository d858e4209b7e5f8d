package probe

import (
	"log/slog"
	"testing"
	"time"

	"portico/balancer"
	"portico/membership/catalog"
	"portico/proxy/origin"
)

// TestToldChecksEndWhatWasMissed: what the proxy stood still, and what the clock was set by, before its agent last found an instance
// well is nothing that a doubt about it could be younger or older for.
func TestToldChecksEndWhatWasMissed(t *testing.T) {
	bal, err := balancer.New(balancer.Options{Keys: []balancer.Key{balancer.NewKey(1, time.Now())}})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := bal.NewPool("shop", []balancer.Spec{{ID: "one", Member: "m1"}}, balancer.Config{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	u := pool.Upstream("one")
	u.Observe(balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK"}, 1)
	p := New(t.Context(), slog.New(slog.DiscardHandler), func() int64 { return 2 })
	r := &run{
		target: Target{Upstream: u, Origin: origin.New(origin.Address{}), Check: Check{interval: time.Hour}, Member: "m1"},
		wake:   make(chan struct{}, 1), timer: time.NewTimer(time.Hour),
	}
	r.checked.Store(true)
	p.runs["one"] = r

	r.missed(p.lag) // a check of this proxy's own
	standStill := func() {
		p.lag.mu.Lock()
		defer p.lag.mu.Unlock()
		p.lag.total += time.Hour
	}
	standStill()
	tell := func(ok bool) {
		p.heard(&stream{p: p, member: "m1"}, []catalog.CheckResult{{ID: "one", OK: ok, Code: "L7OK"}})
	}
	tell(false)
	if d := r.missed(p.lag); d < time.Hour {
		t.Errorf("a check that failed at the agent ends what was missed: %v is left", d)
	}
	standStill()
	tell(true)
	if u.Health().LastAt != 2 {
		t.Fatal("the agent's check was not taken")
	}
	if d := r.missed(p.lag); d >= time.Hour {
		t.Errorf("it missed %v since the agent's check", d)
	}
}
