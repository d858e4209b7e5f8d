package balancer_test

import (
	"fmt"
	"testing"

	"portico/balancer"
)

func TestFirstBurst(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c", "d")
	for visitor := range uint64(50) {
		v := balancer.Hash(fmt.Append(nil, visitor))
		first := w.pick(balancer.Request{Visitor: v})
		for range 5 {
			w.now += 20
			c := w.pick(balancer.Request{Visitor: v})
			if c.Upstream != first.Upstream || c.Session != first.Session || !c.Issue {
				t.Fatalf("visitor %d: %+v, first was %+v", visitor, c, first)
			}
		}
	}
	n := 0
	for _, u := range w.p.Upstreams() {
		n += u.Sessions()
	}
	if n != 50 {
		t.Errorf("%d sessions of 50 visitors", n)
	}
	v := balancer.Hash([]byte("late"))
	first := w.pick(balancer.Request{Visitor: v})
	w.now += 2001
	if c := w.pick(balancer.Request{Visitor: v}); c.Session == first.Session {
		t.Error("joined a first visit that takes too long")
	}
}

// Two people behind one address with the same browser are two people, however
// soon the second comes after the first one's answer.
func TestVisitorsOneAfterAnotherAreStrangers(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c", "d")
	r := balancer.Request{Visitor: balancer.Hash([]byte("an office"))}
	ends := map[string]func(*balancer.Choice){
		"answered":        w.done,
		"the head is out": w.p.Answering,
		"failed": func(c *balancer.Choice) {
			w.p.Done(c, balancer.Outcome{Now: w.now, Result: balancer.ResponseFailed, Reused: true})
		},
		"the client left": func(c *balancer.Choice) { w.p.Done(c, balancer.Outcome{Now: w.now, Result: balancer.ClientAborted}) },
	}
	for name, end := range ends {
		first := w.pick(r)
		beside := w.pick(r)
		end(&first)
		if next := w.pick(r); beside.Session != first.Session || next.Session == first.Session || !next.New {
			t.Errorf("%s: sessions %x, beside it %x, after it %x", name, first.Session, beside.Session, next.Session)
		} else {
			w.done(&next)
		}
	}
	used := map[string]int{}
	for range 40 {
		c := w.pick(r)
		used[c.Upstream.ID()]++
		w.done(&c)
	}
	if len(used) != 4 {
		t.Errorf("forty visitors of one address went to %v", used)
	}
}

// What no browser does is no burst: a load test from one machine spreads.
func TestBurstIsBounded(t *testing.T) {
	w := newWorld(t, balancer.Config{}, "a", "b", "c", "d")
	r, used, sessions := balancer.Request{Visitor: 42}, map[string]int{}, map[uint64]int{}
	for range 64 {
		c := w.pick(r)
		used[c.Upstream.ID()]++
		sessions[c.Session]++
	}
	if len(sessions) != 4 || len(used) != 4 {
		t.Errorf("64 parallel requests: %v, %v", used, sessions)
	}
}
