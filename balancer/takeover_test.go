package balancer_test

import (
	"bytes"
	"testing"

	"portico/balancer"
)

// A process hands over to the next while a visitor's move has no answer yet. However that request ends, the
// visitor is told once: by the request that the application answers.
func TestAMoveAcrossATakeOverIsToldOnce(t *testing.T) {
	f := func(name string, result balancer.Outcome, want balancer.Cause) {
		old := newWorld(t, balancer.Config{}, "a", "b")
		cookie := old.visitorOf("a")
		old.get(cookie)
		gone := balancer.Evidence{From: balancer.FromAgent, Exited: true}
		old.up("a").Observe(gone, old.now)
		old.now += 2000
		moving := old.pick(balancer.Request{Cookie: cookie})
		if moving.Upstream != old.up("b") || moving.Lost != balancer.CauseExited {
			t.Fatalf("%s: %+v", name, moving)
		}
		next := newWorld(t, balancer.Config{}, "a", "b")
		next.setKeys(old.keys)
		next.now = old.now
		next.up("a").Observe(gone, next.now)
		var file bytes.Buffer
		if err := old.b.SaveSessions(&file); err != nil {
			t.Fatal(err)
		}
		if n, err := next.b.RestoreSessions(bytes.NewReader(file.Bytes()), next.now); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if result.Status != 0 {
			cookie = old.p.AppendCookie(nil, &moving)
		}
		result.Now = old.now
		old.p.Done(&moving, result)
		file.Reset()
		if err := old.b.SaveSessions(&file); err != nil {
			t.Fatal(err)
		}
		if _, err := next.b.MergeSessions(bytes.NewReader(file.Bytes()), next.now); err != nil {
			t.Fatal(err)
		}
		next.now += 1000
		vain := next.p.Picked(&balancer.Request{Now: next.now, Cookie: cookie})
		next.p.Done(&vain, balancer.Outcome{Now: next.now, Result: balancer.TimedOut})
		for i, want := range []balancer.Cause{want, balancer.CauseNone, balancer.CauseNone} {
			c := next.p.Picked(&balancer.Request{Now: next.now, Cookie: cookie})
			if c.Upstream != next.up("b") || c.Lost != want {
				t.Errorf("%s: request %d is told %q by %s, want %q", name, i+1, c.Lost, c.Upstream.ID(), want)
			}
			next.done(&c)
		}
		if got := next.p.Lost[balancer.CauseExited].Load(); got != uint64(min(want, 1)) {
			t.Errorf("%s: %d losses are counted", name, got)
		}
	}
	f("in vain", balancer.Outcome{Result: balancer.ConnectFailed}, balancer.CauseExited)
	f("no answer in time", balancer.Outcome{Result: balancer.TimedOut}, balancer.CauseExited)
	f("answered", balancer.Outcome{Status: 200, Reused: true}, balancer.CauseNone)
}
