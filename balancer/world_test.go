package balancer_test

import (
	"maps"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/tests/support/seals"
)

// world is one proxy with one pool whose upstreams have passed a check.
type world struct {
	looks int // picks that were foretold and compared
	t     testing.TB
	b     *balancer.Balancer
	p     *balancer.Pool
	keys  []seal.Key
	c     balancer.Config
	spec  []balancer.Spec
	now   int64
}

func newWorld(t testing.TB, c balancer.Config, ids ...string) *world {
	t.Helper()
	var specs []balancer.Spec
	for _, id := range ids {
		specs = append(specs, balancer.Spec{ID: id})
	}
	return newWorldOf(t, c, specs...)
}

func newWorldOf(t testing.TB, c balancer.Config, specs ...balancer.Spec) *world {
	t.Helper()
	w := &world{t: t, keys: newKeys(), c: c, spec: specs, now: t0}
	var err error
	if w.b, err = balancer.New(balancer.Options{Keys: w.keys}); err != nil {
		t.Fatal(err)
	}
	if w.p, err = w.b.NewPool("shop", specs, c, t0); err != nil {
		t.Fatal(err)
	}
	w.passAll()
	return w
}

func (w *world) passAll() {
	for _, u := range w.p.Upstreams() {
		u.Observe(balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200}, w.now)
	}
}

func (w *world) up(id string) *balancer.Upstream {
	w.t.Helper()
	u := w.p.Upstream(id)
	if u == nil {
		w.t.Fatalf("no upstream %q", id)
	}
	return u
}

func (w *world) failCheck(id string, times int) {
	for range times {
		w.up(id).Observe(balancer.Evidence{From: balancer.FromCheck, Code: "L4CON", Detail: "refused"}, w.now)
	}
}

func (w *world) passCheck(id string, times int) {
	for range times {
		w.up(id).Observe(balancer.Evidence{From: balancer.FromCheck, OK: true, Code: "L7OK", Status: 200}, w.now)
	}
}

func (w *world) update(specs ...balancer.Spec) {
	w.t.Helper()
	w.spec = specs
	if err := w.p.Update(specs, w.c, w.now); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pick(r balancer.Request) balancer.Choice {
	w.t.Helper()
	r.Now = w.now
	if w.looks++; w.looks > 200 {
		return w.p.Picked(&r)
	}
	before := w.p.Snapshot(w.now)
	look := w.p.Preview(&r)
	if after := w.p.Snapshot(w.now); after.Sessions != before.Sessions || after.NewSessions != before.NewSessions || !maps.Equal(after.Refused, before.Refused) || !maps.Equal(after.Lost, before.Lost) {
		w.t.Errorf("a look has changed %+v to %+v", before, after)
	}
	c := w.p.Picked(&r)
	w.compare(&r, look, &c)
	return c
}

// compare holds what Preview foretold against what Pick did.
func (w *world) compare(r *balancer.Request, l balancer.Preview, c *balancer.Choice) {
	w.t.Helper()
	if c.Await {
		after := *r
		after.Patient = false
		if want := w.p.Preview(&after); l.Upstream != want.Upstream || l.None != want.None {
			w.t.Errorf("a look says %+v, while a pick waits for %+v", l, want)
		}
		return
	}
	switch {
	case l.Guess != c.FailOpen:
		w.t.Errorf("a look guesses: %v, a pick: %v", l.Guess, c.FailOpen)
	case l.Upstream != nil && l.Upstream != c.Upstream, c.Pinned && l.Upstream != c.Upstream:
		w.t.Errorf("a look says %+v, a pick %+v", l, c)
	case l.None != c.None:
		w.t.Errorf("a look finds %q, a pick %q", l.None, c.None)
	case l.Cause != c.Lost && !l.Free && c.Upstream != nil:
		w.t.Errorf("a look tells of the loss %q, a pick of %q", l.Cause, c.Lost)
	case l.Refused != c.Refused:
		w.t.Errorf("a look refuses the cookie as %q, a pick as %q", l.Refused, c.Refused)
	}
}

func (w *world) done(c *balancer.Choice) {
	w.p.Done(c, balancer.Outcome{Now: w.now, Status: 200, Total: time.Millisecond, Reused: true})
}

// get plays a whole request and returns the cookie that the client has then.
func (w *world) get(cookie []byte) (balancer.Choice, []byte) {
	c := w.pick(balancer.Request{Cookie: cookie})
	if c.Upstream != nil && c.Issue {
		cookie = w.p.AppendCookie(nil, &c)
	}
	w.done(&c)
	return c, cookie
}

// cookie makes a new visitor with a session.
func (w *world) cookie(int) []byte {
	w.t.Helper()
	c, cookie := w.get(nil)
	if c.Upstream == nil {
		w.t.Fatalf("a new visitor found nobody: %s", c.None)
	}
	return cookie
}

// visitorOf makes a visitor whose session is on the given upstream.
func (w *world) visitorOf(id string) []byte {
	w.t.Helper()
	s := mustSealer(w.t, "shop", w.keys)
	return s.Seal(nil, seal.Cookie{Token: w.up(id).Token(), Session: uint64(len(id)) + w.b.HashApp([]byte(id)), Issued: w.now / 1000, Start: w.now / 1000})
}

// How a rotation goes in these tests: the catalog has the same rule with longer times.
const (
	keyLead = 2 * time.Minute  // a key is known for so long before it signs
	keyKept = 30 * time.Minute // and the one before opens for so long after
)

// rotated returns keys with a fresh one that signs keyLead after now.
func rotated(keys []seal.Key, now int64) []seal.Key {
	next := seals.NewKey(keys[0].ID+1, time.UnixMilli(now))
	next.From = time.UnixMilli(now).Add(keyLead)
	before := keys[0]
	before.Until = next.From.Add(keyKept)
	return []seal.Key{next, before}
}

// setKeys hands over keys and lets what is due happen.
func (w *world) setKeys(keys []seal.Key) {
	w.t.Helper()
	w.keys = keys
	if err := w.b.SetKeys(keys, w.now); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.now += d.Milliseconds()
	w.b.Tick(w.now)
}

func mustSealer(t testing.TB, site string, keys []seal.Key) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(site, keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
