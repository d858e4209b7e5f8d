package balancer_test

import (
	"math"
	"testing"

	"portico/balancer"
	"portico/conf/sites"
)

// shares plays n requests without sessions and returns what each upstream got,
// in thousandths.
func shares(w *world, n int, r func(i int) balancer.Request) map[string]int {
	got := map[string]int{}
	for i := range n {
		c := w.pick(r(i))
		got[c.Upstream.ID()]++
		w.done(&c)
	}
	for id := range got {
		got[id] = got[id] * 1000 / n
	}
	return got
}

func numbered(i int) balancer.Request {
	return balancer.Request{Hash: balancer.Hash([]byte{byte(i), byte(i >> 8), byte(i >> 16)})}
}

func TestSharesFollowWeights(t *testing.T) {
	specs := []balancer.Spec{{ID: "a", Weight: 50}, {ID: "b", Weight: 100}, {ID: "c", Weight: 250}}
	want := map[string]int{"a": 125, "b": 250, "c": 625}
	for policy, slack := range map[sites.Policy]float64{sites.PolicyRoundRobin: 1, sites.PolicyRandom: 300, sites.PolicySource: 25, sites.PolicyHeader: 25, sites.PolicyURI: 25} {
		w := newWorldOf(t, balancer.Config{Policy: policy, NotSticky: true}, specs...)
		got := shares(w, 40_000, numbered)
		for id, n := range want {
			if math.Abs(float64(got[id]-n)) > slack {
				t.Errorf("%s gives %s %d thousandths, want %d ± %v", policy, id, got[id], n, slack)
			}
		}
	}
	w := newWorldOf(t, balancer.Config{}, specs...)
	for range 400 {
		w.get(nil)
	}
	for id, n := range want {
		if got := w.up(id).Sessions(); got < n*400/1000-1 || got > n*400/1000+1 {
			t.Errorf("least-sessions gives %s %d of 400 sessions, want %d", id, got, n*400/1000)
		}
	}
}

func TestRoundRobinIsSmooth(t *testing.T) {
	w := newWorldOf(t, balancer.Config{Policy: sites.PolicyRoundRobin, NotSticky: true},
		balancer.Spec{ID: "a", Weight: 5}, balancer.Spec{ID: "b", Weight: 1}, balancer.Spec{ID: "c", Weight: 1})
	order := ""
	for range 14 {
		c := w.pick(balancer.Request{})
		order += c.Upstream.ID()
		w.done(&c)
	}
	if order != "aabacaaaabacaa" { // nginx's own example
		t.Errorf("the order is %s", order)
	}
}

func TestLeastConnections(t *testing.T) {
	w := newWorldOf(t, balancer.Config{Policy: sites.PolicyLeastConnections, NotSticky: true},
		balancer.Spec{ID: "a", Weight: 100}, balancer.Spec{ID: "b", Weight: 200})
	for range 300 {
		w.pick(balancer.Request{}) // never done
	}
	if a, b := w.up("a").InFlight(), w.up("b").InFlight(); a != 100 || b != 200 {
		t.Errorf("in flight: %d and %d, want 100 and 200", a, b)
	}
}

func TestTwoChoicesEvenOut(t *testing.T) {
	w := newWorld(t, balancer.Config{Policy: sites.PolicyRandom, NotSticky: true}, "a", "b", "c", "d", "e", "f", "g", "h")
	for range 8000 {
		w.pick(balancer.Request{})
	}
	for _, u := range w.p.Upstreams() {
		if n := u.InFlight(); n < 980 || n > 1020 {
			t.Errorf("%s has %d in flight, want 1000 ± 20", u.ID(), n)
		}
	}
}

func TestHashIsStable(t *testing.T) {
	specs := []balancer.Spec{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}
	c := balancer.Config{Policy: sites.PolicySource, NotSticky: true}
	w, other := newWorldOf(t, c, specs...), newWorldOf(t, c, specs[2], specs[0], specs[3], specs[1])
	const n = 4000
	before := make([]string, n)
	for i := range n {
		choice := w.pick(numbered(i))
		before[i] = choice.Upstream.ID()
		w.done(&choice)
		if theirs := other.pick(numbered(i)); theirs.Upstream.ID() != before[i] {
			t.Fatalf("two proxies send hash %d to %s and %s", i, before[i], theirs.Upstream.ID())
		}
	}
	w.failCheck("c", 3)
	for i := range n {
		choice := w.pick(numbered(i))
		w.done(&choice)
		if at := choice.Upstream.ID(); at != before[i] && before[i] != "c" {
			t.Fatalf("hash %d moved from %s to %s, though only c is down", i, before[i], at)
		}
	}
}

func TestBoundedLoad(t *testing.T) {
	w := newWorld(t, balancer.Config{Policy: sites.PolicyURI, NotSticky: true, HashBound: 125}, "a", "b", "c", "d")
	for range 400 {
		w.pick(balancer.Request{Hash: 77}) // everybody wants the same page
	}
	for _, u := range w.p.Upstreams() {
		if n := u.InFlight(); n > 126 {
			t.Errorf("%s has %d of 400 requests, want at most 125", u.ID(), n)
		}
	}
}

func TestFirst(t *testing.T) {
	w := newWorldOf(t, balancer.Config{Policy: sites.PolicyFirst, NotSticky: true},
		balancer.Spec{ID: "a", MaxConns: 2}, balancer.Spec{ID: "b", MaxConns: 2}, balancer.Spec{ID: "c"})
	order := ""
	for range 6 {
		c := w.pick(balancer.Request{})
		order += c.Upstream.ID()
	}
	if order != "aabbcc" {
		t.Errorf("the order is %s", order)
	}
}

func TestPoliciesPassOverTheTried(t *testing.T) {
	for _, policy := range sites.Policies() {
		w := newWorld(t, balancer.Config{Policy: policy}, "a", "b", "c")
		r := balancer.Request{Hash: 5}
		for range 3 {
			c := w.pick(r)
			if c.Upstream == nil {
				t.Fatalf("%s: %s", policy, c.None)
			}
			for _, x := range r.Exclude {
				if x == c.Upstream {
					t.Fatalf("%s took %s again", policy, x.ID())
				}
			}
			w.p.Done(&c, balancer.Outcome{Now: w.now, Result: balancer.TimedOut})
			r.Exclude = append(r.Exclude, c.Upstream)
		}
		if c := w.pick(r); c.Upstream != nil || c.None != balancer.NoneTried {
			t.Errorf("%s, all tried: %+v", policy, c)
		}
	}
}

func TestRetryBudget(t *testing.T) {
	w := newWorld(t, balancer.Config{NotSticky: true}, "a")
	spend := func() (n int) {
		for w.p.AllowRetry(w.now) {
			n++
		}
		return n
	}
	if n := spend(); n != 200 {
		t.Errorf("a fresh pool allows %d retries, want 200", n)
	}
	for range 1000 {
		c := w.pick(balancer.Request{})
		w.done(&c)
	}
	if n := spend(); n != 200 {
		t.Errorf("1000 requests allow %d retries, want 200", n)
	}
	spend()
	w.now += 3000
	if n := spend(); n < 10 || n > 30 {
		t.Errorf("3 quiet seconds allow %d retries, want 10 a second", n)
	}
}
