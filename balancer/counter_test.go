package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
)

func TestSnapshotCounts(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b")
	play := func(r balancer.Result, status int, reused bool) {
		c := w.pick(balancer.Request{Cookie: w.visitorOf("a")})
		w.p.Done(&c, balancer.Outcome{
			Now: w.now, Result: r, Status: status, Reused: reused, BytesIn: 10, BytesOut: 20,
			Connect: time.Millisecond, Response: 2 * time.Millisecond, Total: 3 * time.Millisecond,
		})
		w.passCheck("a", 1)
	}
	for range 10 {
		play(balancer.Answered, 200, true)
	}
	play(balancer.Answered, 101, true)
	play(balancer.Answered, 302, true)
	play(balancer.Answered, 404, true)
	play(balancer.Answered, 503, true)
	play(balancer.Answered, 700, true)
	play(balancer.ConnectFailed, 0, false)
	play(balancer.ResponseFailed, 0, false)
	play(balancer.TimedOut, 504, false)
	play(balancer.ClientAborted, 200, true)
	play(balancer.ServerAborted, 200, true)
	c := w.pick(balancer.Request{Cookie: w.visitorOf("a")})
	w.now += 1000
	w.b.Tick(w.now)

	s := w.up("a").Snapshot(w.now)
	type counts struct{ total, in, out, s1, s2, s3, s4, s5, other, econ, eresp, cli, srv, to, conn, reuse uint64 }
	got := counts{s.Total, s.BytesIn, s.BytesOut, s.Status1xx, s.Status2xx, s.Status3xx, s.Status4xx, s.Status5xx, s.StatusOther, s.ConnectErrors, s.ResponseErrors, s.ClientAborts, s.ServerAborts, s.TimeOuts, s.Connects, s.Reuses}
	want := counts{21, 200, 400, 1, 12, 1, 1, 2, 1, 1, 1, 1, 1, 1, 3, 17}
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if s.InFlight != 1 || s.InFlightMax != 1 || s.Sessions != 1 || s.RateMax != 21 || s.LastUsed.UnixMilli() != t0 {
		t.Errorf("%d in flight (at most %d), %d sessions, %v a second at most, last used %v", s.InFlight, s.InFlightMax, s.Sessions, s.RateMax, s.LastUsed)
	}
	if recent := w.up("a").ResponseTime.Snapshot().Recent; recent != 2*time.Millisecond || s.Max.Std() != 3*time.Millisecond {
		t.Errorf("recent %s, max %s", recent, s.Max.Std())
	}
	w.done(&c)

	// The pool's sums outlive its upstreams.
	w.update(balancer.Spec{ID: "b"})
	p := w.p.Snapshot(w.now)
	if p.Total != 21 || p.BytesOut != 400 || p.Sum.Status2xx != 13 || p.RateMax != 21 || p.Arrived != 21 {
		t.Errorf("the pool has %d requests, %d bytes, %d good ones, %v a second at most, %d arrived", p.Total, p.BytesOut, p.Sum.Status2xx, p.RateMax, p.Arrived)
	}
	if p.Active != 1 || p.Weight != 100 || p.Status != "UP" {
		t.Errorf("%d active, weight %d, %s", p.Active, p.Weight, p.Status)
	}
}
