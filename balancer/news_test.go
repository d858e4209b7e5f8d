package balancer_test

import (
	"testing"

	"portico/balancer"
)

// A visitor's requests come together after the instance has ended. The first of them moves the session and is to
// tell of it; the others go to the new place meanwhile. However the first ends, and whichever cookie the visitor
// goes on with, the application hears of the loss from exactly one request that it answers.
func TestNewsOfAMovePassedByOthers(t *testing.T) {
	const told, answered = balancer.CauseExited, 200
	for _, c := range []struct {
		name     string
		first    balancer.Outcome
		goesOnBy string // whose cookie: of the other request, or the one from before
		want     balancer.Cause
	}{
		{"the first is answered", balancer.Outcome{Status: answered}, "other", balancer.CauseNone},
		{"the first is answered, the browser keeps the former cookie", balancer.Outcome{Status: answered}, "before", balancer.CauseNone},
		{"the first fails", balancer.Outcome{Result: balancer.ResponseFailed}, "other", balancer.CauseUnknown},
		{"the first fails, the browser keeps the former cookie", balancer.Outcome{Result: balancer.ResponseFailed}, "before", told},
	} {
		w := newWorld(t, balancer.Config{}, "a", "b")
		cookie := w.visitorOf("a")
		w.get(cookie)
		w.now += 2000
		w.up("a").Observe(balancer.Evidence{From: balancer.FromAgent, Exited: true}, w.now)
		first := w.pick(balancer.Request{Cookie: cookie})
		other := w.pick(balancer.Request{Cookie: cookie})
		if first.Lost != told || other.Lost != balancer.CauseNone || first.Upstream != other.Upstream {
			t.Fatalf("%s: %+v and %+v", c.name, first, other)
		}
		next := map[string][]byte{"before": cookie, "other": w.p.AppendCookie(nil, &other)}[c.goesOnBy]
		c.first.Now = w.now
		w.done(&other)
		if c.first.Status != 0 {
			w.p.Answering(&first)
		}
		w.p.Done(&first, c.first)
		w.passAll()

		w.now += 1000
		vain := w.pick(balancer.Request{Cookie: next})
		w.p.Done(&vain, balancer.Outcome{Now: w.now, Result: balancer.TimedOut})
		for i, want := range []balancer.Cause{c.want, balancer.CauseNone, balancer.CauseNone} {
			ch := w.pick(balancer.Request{Cookie: next})
			if ch.Upstream != w.up("b") || ch.Lost != want {
				t.Errorf("%s: request %d is told %q, want %q", c.name, i+1, ch.Lost, want)
			}
			if ch.Issue {
				next = w.p.AppendCookie(nil, &ch)
			}
			w.done(&ch)
		}
		sum := uint64(0)
		for _, cause := range balancer.Causes() {
			sum += w.p.Lost[cause].Load()
		}
		if sum != 1 {
			t.Errorf("%s: %d losses are counted", c.name, sum)
		}
	}
}
