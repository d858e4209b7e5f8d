package balancer_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/balancer"
)

// enqueue lets a choice wait and notes in order when its turn comes.
func enqueue(t *testing.T, w *world, name string, c balancer.Choice, order *[]string) *balancer.Waiter {
	t.Helper()
	if !c.Queue || c.Admitted() {
		t.Fatalf("%s need not wait: %+v", name, c)
	}
	x := &balancer.Waiter{Choice: c, Go: func(x *balancer.Waiter) {
		if !x.Choice.Admitted() {
			name += " void"
		}
		*order = append(*order, name)
	}}
	if !w.p.Enqueue(x, w.now) {
		t.Fatalf("no room for %s", name)
	}
	return x
}

func TestQueueOrder(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxConns: 1})
	pinned := w.visitorOf("a")
	running := w.pick(balancer.Request{})
	if running.Queue {
		t.Fatal("the first request has to wait")
	}
	var order []string
	enqueue(t, w, "new 1", w.pick(balancer.Request{}), &order)
	x := enqueue(t, w, "new 2", w.pick(balancer.Request{}), &order)
	p1 := enqueue(t, w, "pinned 1", w.pick(balancer.Request{Cookie: pinned}), &order)
	p2 := enqueue(t, w, "pinned 2", w.pick(balancer.Request{Cookie: pinned}), &order)
	if s := w.up("a").Snapshot(w.now); s.Queued != 2 || s.QueuedMax != 2 || w.p.Snapshot(w.now).Queued != 2 {
		t.Errorf("%d wait for the upstream, %d for any", s.Queued, w.p.Snapshot(w.now).Queued)
	}
	if !w.p.Cancel(x) || w.p.Cancel(x) {
		t.Error("a waiter is cancelled once")
	}
	w.done(&running)
	w.done(&p1.Choice)
	w.done(&p2.Choice)
	if got := order; len(got) != 3 || got[0] != "pinned 1" || got[1] != "pinned 2" || got[2] != "new 1" {
		t.Errorf("the order is %v", got)
	}
	if n := w.up("a").InFlight(); n != 1 {
		t.Errorf("%d in flight", n)
	}
	if w.p.Cancel(p1) {
		t.Error("cancelled who had his turn")
	}
}

func TestNewVisitorTakesWhateverIsFree(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxConns: 1}, balancer.Spec{ID: "b", MaxConns: 1})
	one, two := w.pick(balancer.Request{}), w.pick(balancer.Request{})
	if one.Upstream == two.Upstream {
		t.Fatal("two requests on an upstream for one")
	}
	c := w.pick(balancer.Request{})
	var order []string
	x := enqueue(t, w, "new", c, &order)
	other := one
	if c.Upstream == one.Upstream {
		other = two
	}
	w.done(&other)
	if len(order) != 1 || x.Choice.Upstream != other.Upstream {
		t.Fatalf("handed over %v, to %s", order, x.Choice.Upstream.ID())
	}
	if x.Choice.Upstream.Sessions() != 2 {
		t.Errorf("the session is not counted where it went: %d", x.Choice.Upstream.Sessions())
	}
}

func TestQueueOfAnUpstreamThatDies(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxConns: 1}, balancer.Spec{ID: "b"})
	pinned := w.visitorOf("a")
	running := w.pick(balancer.Request{Cookie: pinned})
	var order []string
	enqueue(t, w, "pinned", w.pick(balancer.Request{Cookie: pinned}), &order)
	w.up("a").Observe(exited(""), w.now)
	if len(order) != 1 || order[0] != "pinned void" {
		t.Fatalf("the waiter was told %v", order)
	}
	w.done(&running)
	if n := w.up("a").InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestQueueGrowsWithTheLimit(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxConns: 1})
	w.pick(balancer.Request{})
	var order []string
	enqueue(t, w, "new", w.pick(balancer.Request{}), &order)
	w.update(balancer.Spec{ID: "a", MaxConns: 2})
	if len(order) != 1 {
		t.Error("a higher limit lets nobody in")
	}
}

func TestQueueIsBounded(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}.WithQueueMax(2), balancer.Spec{ID: "a", MaxConns: 1})
	w.pick(balancer.Request{})
	var order []string
	enqueue(t, w, "1", w.pick(balancer.Request{}), &order)
	enqueue(t, w, "2", w.pick(balancer.Request{}), &order)
	x := &balancer.Waiter{Choice: w.pick(balancer.Request{}), Go: func(*balancer.Waiter) { t.Error("called") }}
	if w.p.Enqueue(x, w.now) {
		t.Error("a third waits in a queue for two")
	}
	if n := w.p.Snapshot(w.now).QueueFull; n != 1 {
		t.Errorf("counted %d", n)
	}
}

// TestQueueUnderLoad lets many goroutines fight for few places: nobody is forgotten,
// and the limit holds at every moment.
func TestQueueUnderLoad(t *testing.T) {
	const limit, workers, rounds = 3, 32, 300
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxConns: limit}, balancer.Spec{ID: "b", MaxConns: limit})
	pinned := w.visitorOf("a")
	var inside [2]atomic.Int64
	var wg sync.WaitGroup
	for i := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range rounds {
				r := balancer.Request{Now: t0}
				if i%3 == 0 {
					r.Cookie = pinned
				}
				c := w.p.Picked(&r)
				if c.Upstream == nil {
					t.Error(c.None)
					return
				}
				if c.Queue {
					turn := make(chan struct{}, 1)
					x := &balancer.Waiter{Choice: c, Go: func(*balancer.Waiter) { turn <- struct{}{} }}
					if !w.p.Enqueue(x, t0) {
						t.Error("no room")
						return
					}
					if j%7 == 0 && w.p.Cancel(x) {
						continue
					}
					<-turn
					c = x.Choice
				}
				n := &inside[c.Upstream.ID()[0]-'a']
				if now := n.Add(1); now > limit {
					t.Errorf("%d requests inside, the limit is %d", now, limit)
				}
				n.Add(-1)
				w.p.Done(&c, balancer.Outcome{Now: t0, Status: 200, Total: time.Millisecond, Reused: true})
			}
		}()
	}
	wg.Wait()
	for _, u := range w.p.Upstreams() {
		if u.InFlight() != 0 || u.Queued.Load() != 0 {
			t.Errorf("%s: %d in flight, %d queued at the end", u.ID(), u.InFlight(), u.Queued.Load())
		}
	}
}
