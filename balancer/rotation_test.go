package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/tests/support/seals"
)

// TestRotation plays three rotations on two proxies, one of which hears of each key late
// and has a clock that is behind: each reads what the other seals, at every moment.
func TestRotation(t *testing.T) {
	near, far := newWorld(t, balancer.Config{Idle: 20 * time.Minute}, "a", "b", "c"), newWorld(t, balancer.Config{Idle: 20 * time.Minute}, "a", "b", "c")
	near.setKeys(near.keys[:1])
	far.setKeys(near.keys)
	first, cookie := near.get(nil)
	stay := func(w *world, when string) {
		t.Helper()
		c, fresh := w.get(cookie)
		if c.Upstream == nil || c.Upstream.ID() != first.Upstream.ID() || c.Session != first.Session || c.Lost != balancer.CauseNone || c.Refused != seal.Honoured {
			t.Fatalf("%s: %+v", when, c)
		}
		cookie = fresh
	}
	var late []seal.Key
	for round := range 3 {
		keys := rotated(near.keys, near.now)
		near.setKeys(keys)
		late = keys
		for step := range 40 {
			near.pass(time.Minute)
			far.now = near.now - 20_000
			far.b.Tick(far.now)
			if step == 0 {
				far.setKeys(late)
			}
			stay(near, "here")
			stay(far, "there")
			stay(near, "here again")
		}
		sealer := mustSealer(t, "shop", keys[:1])
		if _, r := seals.Open(sealer, []byte(cookie)); r != seal.Honoured {
			t.Fatalf("round %d: %s: the cookie is still of the key before", round, r)
		}
	}
}

func TestRotatedOutKey(t *testing.T) {
	w := newWorld(t, balancer.Config{Idle: 24 * time.Hour}, "a", "b")
	w.setKeys(w.keys[:1])
	_, cookie := w.get(nil)
	w.setKeys(rotated(w.keys, w.now))
	w.pass(keyLead + keyKept - time.Second)
	if c, _ := w.get(cookie); c.Refused != seal.Honoured || !c.Issue {
		t.Errorf("a second before its key's end: %+v", c)
	}
	w.pass(2 * time.Second)
	if c, _ := w.get(cookie); c.Refused != seal.RefusedKey || c.Lost != balancer.CauseKey || !c.New {
		t.Errorf("after its key's end: %+v", c)
	}
}

// TestRotationKeepsGraves holds that a token of an instance that left under the key before
// is known too.
func TestRotationKeepsGraves(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	at, cookie := w.get(nil)
	w.up(at.Upstream.ID()).SetEnd(balancer.CauseDeadline)
	var rest []balancer.Spec
	for _, s := range w.spec {
		if s.ID != at.Upstream.ID() {
			rest = append(rest, s)
		}
	}
	w.update(rest...)
	w.setKeys(rotated(w.keys, w.now))
	w.pass(keyLead)
	if c, _ := w.get(cookie); c.Lost != balancer.CauseDeadline {
		t.Errorf("cause %q, want deadline", c.Lost)
	}
}

// TestRotationKeepsLearnedTokens: a visitor who has nothing but the application's token
// stays through rotations, and is one session all along.
func TestRotationKeepsLearnedTokens(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	w.setKeys(w.keys[:1])
	c, _ := w.get(nil)
	app := w.b.HashApp([]byte("JSESSIONID=4711"))
	w.p.Learn(&c, app, w.now)
	visit := func(when string) uint64 {
		t.Helper()
		got := w.pick(balancer.Request{App: app})
		w.p.Refresh(&got, app, w.now)
		w.done(&got)
		if got.Upstream != c.Upstream {
			t.Fatalf("%s: by the token to %+v, want %s", when, got, c.Upstream.ID())
		}
		if n := w.up("a").Sessions() + w.up("b").Sessions() + w.up("c").Sessions(); n != 1 {
			t.Fatalf("%s: %d sessions are counted, want 1", when, n)
		}
		return got.Session
	}
	visit("before")
	for range 4 {
		w.setKeys(rotated(w.keys, w.now))
		visit("with the next key known")
		w.pass(keyLead)
		visit("with the next key in use")
		w.pass(20 * time.Minute)
		visit("later")
		w.pass(keyKept)
		visit("without the key before")
	}
}
