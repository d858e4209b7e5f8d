package balancer_test

import (
	"strconv"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/conf/sites"
)

// The clock of one of two proxies is set while visitors have sessions, some of which idle. It may have been wrong before
// or be wrong now, and be set again: everybody stays at either proxy, who idled for too long is a new
// visitor, and the counts follow.
func TestTheClockIsSetUnderSessions(t *testing.T) {
	const idle = 30 * time.Minute
	config := balancer.Config{Idle: idle, Life: 24 * time.Hour}
	for name, steps := range map[string][]time.Duration{
		"26 hours ahead":           {26 * time.Hour},
		"26 hours back":            {-26 * time.Hour},
		"an hour ahead":            {time.Hour},
		"20 minutes back":          {-20 * time.Minute},
		"ahead and right again":    {26 * time.Hour, -26 * time.Hour},
		"back and right again":     {-26 * time.Hour, 26 * time.Hour},
		"from 1970 to the present": {50 * 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			set, other := newWorld(t, config, "a", "b"), newWorld(t, config, "a", "b")
			other.setKeys(set.keys)
			jar := make([][]byte, 20)
			for i := range jar {
				jar[i] = set.cookie(i)
			}
			home := map[int]string{}
			visit := func(w *world, i int) {
				t.Helper()
				c, next := w.get(jar[i])
				if c.Upstream == nil || !c.Pinned || c.New || c.Refused != seal.Honoured || home[i] != "" && c.Upstream.ID() != home[i] {
					t.Fatalf("visitor %d of %s: %+v", i, home[i], c)
				}
				jar[i], home[i] = next, c.Upstream.ID()
			}
			pass := func(d time.Duration) {
				set.now += d.Milliseconds()
				other.now += d.Milliseconds()
				set.b.Tick(set.now)
				set.b.Sessions().SweepAll(set.now)
				other.b.Sessions().SweepAll(other.now)
			}
			everybody := func(n int) {
				t.Helper()
				for i := range n {
					visit(set, i)
				}
				for i := range n {
					if i%2 == 0 {
						visit(other, i)
						visit(set, i)
					}
				}
			}
			everybody(20)
			for _, by := range steps {
				pass(20 * time.Minute)
				set.now += by.Milliseconds()
				set.b.ClockSet(by, set.now)
				set.b.Sessions().SweepAll(set.now)
				everybody(10)
				if n := set.up("a").Sessions() + set.up("b").Sessions(); n != 20 {
					t.Errorf("after %s %d sessions are counted", by, n)
				}
				for i := 10; i < 20; i++ {
					visit(set, i)
				}
			}
			for range 3 { // the last ten stay away
				pass(15 * time.Minute)
				everybody(10)
			}
			if n := set.up("a").Sessions() + set.up("b").Sessions(); n != 10 {
				t.Errorf("%d sessions are counted, 10 visitors are there", n)
			}
			if c, _ := set.get(jar[15]); !c.New || c.Refused != seal.RefusedIdle {
				t.Errorf("who stayed away for 45 minutes: %+v", c)
			}
		})
	}
}

// A cookie of a proxy whose clock is ahead is taken for one of now, and issued anew, so that it ages from then on.
func TestCookiesFromTheFuture(t *testing.T) {
	ahead, w := newWorld(t, balancer.Config{Idle: 30 * time.Minute}, "a", "b"), newWorld(t, balancer.Config{Idle: 30 * time.Minute}, "a", "b")
	w.setKeys(ahead.keys)
	ahead.now += 26 * time.Hour.Milliseconds()
	cookie := ahead.cookie(0)
	c, next := w.get(cookie)
	if !c.Pinned || !c.Issue {
		t.Fatalf("a cookie that is 26 hours ahead: %+v", c)
	}
	issued, err := strconv.ParseInt(string(next[11:len(next)-41]), 36, 64)
	if err != nil || issued != w.now/1000 {
		t.Errorf("it is issued anew as of %d, not %d (%v)", issued, w.now/1000, err)
	}
	w.now += 40 * time.Minute.Milliseconds()
	if c, _ := w.get(next); !c.New || c.Refused != seal.RefusedIdle {
		t.Errorf("40 minutes later: %+v", c)
	}
}

// An instance that has just come up gets its visitors slowly, also when the clock is set meanwhile, and retries are
// earned on.
func TestWeightsGrowWhileTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{26 * time.Hour, -26 * time.Hour} {
		w := newWorld(t, balancer.Config{SlowStart: time.Minute, Policy: sites.PolicyRoundRobin}, "a", "b")
		w.now += 2 * time.Minute.Milliseconds()
		w.b.Tick(w.now)
		w.failCheck("b", 3)
		w.passCheck("b", 2)
		w.now += by.Milliseconds() + 1000
		w.b.ClockSet(by, w.now)
		w.b.Tick(w.now)
		share := func() int {
			n := 0
			for range 110 {
				c := w.pick(balancer.Request{})
				if c.Upstream == w.up("b") {
					n++
				}
				w.done(&c)
			}
			return n
		}
		if n := share(); n < 5 || n > 30 {
			t.Errorf("set by %s: after a second %d of 110 visitors go to the instance that came up", by, n)
		}
		w.now += time.Minute.Milliseconds()
		w.b.Tick(w.now)
		if n := share(); n < 50 || n > 60 {
			t.Errorf("set by %s: after a minute %d of 110 visitors go to the instance that came up", by, n)
		}
	}
}
