package probe

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/membership/catalog/messages"
	"portico/proxy/origin"
	"portico/tests/support/seals"
)

// TestToldChecksEndWhatWasMissed: what the proxy stood still, and what the clock was set by, before its agent last found an instance
// well is nothing that a doubt about it could be younger or older for.
func TestToldChecksEndWhatWasMissed(t *testing.T) {
	bal, err := balancer.New(balancer.Options{Keys: []seal.Key{seals.NewKey(1, time.Now())}})
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
	r := newRun(p, Target{Upstream: u, Origin: origin.New(origin.Address{}), Check: Check{interval: time.Hour}, Member: "m1"})
	r.checked.Store(true)
	r.state = checking
	p.runs["one"] = r

	r.missed(p.lag) // a check of this proxy's own
	standStill := func() {
		p.lag.mu.Lock()
		defer p.lag.mu.Unlock()
		p.lag.total += time.Hour
	}
	standStill()
	tell := func(ok bool) {
		p.apply(&stream{p: p, member: "m1"}, []messages.CheckResult{{ID: "one", OK: ok, Code: "L7OK"}})
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

// TestOnlySoundWordsAreTaken: what no check has for a result is not shown; the proxy checks itself.
func TestOnlySoundWordsAreTaken(t *testing.T) {
	p := New(t.Context(), slog.New(slog.DiscardHandler), func() int64 { return 2 })
	bal, err := balancer.New(balancer.Options{Keys: []seal.Key{seals.NewKey(1, time.Now())}})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := bal.NewPool("shop", []balancer.Spec{{ID: "one", Member: "m1"}}, balancer.Config{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(p, Target{Upstream: pool.Upstream("one"), Origin: origin.New(origin.Address{}), Check: Check{interval: time.Hour}, Member: "m1"})
	r.target.Upstream.Observe(balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK"}, 1)
	r.checked.Store(true)
	r.state = checking // so that it only notes who asks for a check
	p.runs["one"] = r
	s := &stream{p: p, member: "m1"}
	s.lastFull.Store(int64(time.Hour)) // no check of the whole line is due
	for _, tt := range []struct {
		code   string
		status int
		took   time.Duration
		sound  bool
	}{
		{"L7OK", 200, time.Millisecond, true}, {"L4OK", 0, 0, true}, {"L8NEW", 999, 0, true},
		{"", 200, 0, false}, {"L7OK\n", 200, 0, false}, {"l7ok", 200, 0, false}, {"L7,OK", 200, 0, false}, {"Lé", 200, 0, false},
		{strings.Repeat("L", maxCode+1), 200, 0, false}, {"L7OK", 1000, 0, false}, {"L7OK", -1, 0, false}, {"L7OK", 200, -1, false},
	} {
		before := r.target.Upstream.Health().LastAt
		p.time = func() int64 { return before + 1 }
		p.apply(s, []messages.CheckResult{{ID: "one", OK: true, Code: tt.code, Status: tt.status, Took: tt.took}})
		taken, looks := r.target.Upstream.Health().LastAt != before, r.again
		if taken != tt.sound || looks == tt.sound {
			t.Errorf("%.40q, %d, %v: taken %v, checked %v", tt.code, tt.status, tt.took, taken, looks)
		}
		r.again = false
	}
}
