package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
)

// census is how many live sessions each release of a world has, by three ways that must agree:
// the counters of its instances, its forecast, and a walk through the table.
func census(w *world) map[string]int {
	w.t.Helper()
	sums, ups := map[string]int{}, map[string][]*balancer.Upstream{}
	for _, u := range w.p.Upstreams() {
		release := u.Spec().Release
		sums[release] += u.Sessions()
		ups[release] = append(ups[release], u)
	}
	all := 0
	for release, n := range sums {
		all += n
		if f := w.b.Forecast(ups[release], w.now); f.Sessions != n {
			w.t.Errorf("%s: its forecast has %d sessions, its instances count %d", release, f.Sessions, n)
		}
		_, listed := w.b.Sessions().List(w.p.Name(), 1, func(in *balancer.SessionInfo) bool {
			return !in.Ended && in.Upstream.Spec().Release == release
		})
		if listed != n {
			w.t.Errorf("%s: the table lists %d sessions, its instances count %d", release, listed, n)
		}
	}
	if s := w.p.Snapshot(w.now); s.Sessions != all {
		w.t.Errorf("the site has %d sessions, its releases %d", s.Sessions, all)
	}
	return sums
}

// The sessions of a release add up over its instances while a deploy replaces it, and while
// sessions end, move, and lose their instance.
func TestSessionsOfEachRelease(t *testing.T) {
	of := func(release string, retiring bool, ids ...string) (specs []balancer.Spec) {
		for _, id := range ids {
			specs = append(specs, balancer.Spec{ID: id, Release: release, Retiring: retiring})
		}
		return specs
	}
	w := newWorldOf(t, balancer.Config{Idle: 40 * time.Minute}, of("r1", false, "a", "b")...)
	want := func(when string, r1, r2 int) {
		t.Helper()
		w.b.Sessions().SweepAll(w.now)
		if got := census(w); got["r1"] != r1 || got["r2"] != r2 {
			t.Errorf("%s: %v, want %d and %d", when, got, r1, r2)
		}
	}
	var old, young []balancer.Choice
	var cookies [][]byte
	for range 60 {
		c, cookie := w.get(nil)
		old, cookies = append(old, c), append(cookies, cookie)
	}
	want("before the deploy", 60, 0)

	w.update(append(of("r1", true, "a", "b"), of("r2", false, "c", "d")...)...)
	w.passAll()
	w.now += (20 * time.Minute).Milliseconds()
	for range 40 {
		c, _ := w.get(nil)
		young = append(young, c)
	}
	for i := range 30 { // half of those from before the deploy come back
		if c, _ := w.get(cookies[i]); c.Upstream != old[i].Upstream {
			t.Fatalf("visitor %d was led to another instance: %+v", i, c)
		}
	}
	want("both serve", 60, 40)

	w.b.Sessions().End(old[0].Session)
	w.b.Sessions().End(young[0].Session)
	want("an operator has ended one of each", 59, 39)

	w.b.Sessions().Move(old[1].Session)
	if c, _ := w.get(cookies[1]); c.Upstream.Spec().Release != "r2" {
		t.Fatalf("an operator has moved it, and it went to %+v", c)
	}
	want("an operator has moved one", 58, 40)

	w.now += (31 * time.Minute).Milliseconds()
	want("those who did not come back have ended", 28, 40)

	var onA int
	for _, c := range old[2:30] {
		if c.Upstream.ID() == "a" {
			onA++
		}
	}
	w.update(append(of("r1", true, "b"), of("r2", false, "c", "d")...)...)
	want("an instance has gone with its sessions", 28-onA, 40)
	for i := 2; i < 30; i++ {
		w.get(cookies[i])
	}
	want("its visitors have moved", 28-onA, 40+onA)

	w.update(of("r2", false, "c", "d")...)
	want("the release has gone", 0, 40+onA)
}
