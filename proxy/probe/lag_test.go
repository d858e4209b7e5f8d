package probe

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// startLag runs a lag until the test ends.
func startLag(t *testing.T) *lag {
	l := newLag()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return l
}

// A proxy that was never late has not stood still, whatever its checks take.
func TestLagOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLag(t)
		for i := range 300 {
			stood := l.during()
			time.Sleep(time.Duration(i%40) * 13 * time.Millisecond)
			if late := stood(); late != 0 {
				t.Fatalf("check %d: %s", i, late)
			}
			time.Sleep(time.Duration(i%7) * 331 * time.Millisecond)
		}
		if sum := l.sum(); sum != 0 {
			t.Errorf("stood still for %s", sum)
		}
	})
}

// What a proxy stood still is known, between checks and in the midst of one, and most of it is.
func TestLagOfStandingStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLag(t)
		stand := func(d time.Duration) { // the clock goes on, and nobody looks
			l.mu.Lock()
			l.began = l.began.Add(-d)
			l.mu.Unlock()
		}
		near := func(when string, got, most time.Duration) {
			if got > most || got < most-lagRest-lagSlack {
				t.Errorf("%s: %s of %s", when, got, most)
			}
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		stand(20 * time.Second)
		near("at once", l.sum(), 20*time.Second)
		time.Sleep(10 * time.Second)
		near("after a while", l.sum(), 20*time.Second)

		stood := l.during()
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		stand(5 * time.Second)
		if late := stood(); late > 5*time.Second || late < 5*time.Second-lagEvery-lagSlack {
			t.Errorf("in the midst of a check: %s of 5s", late)
		}
	})
}

// While no check is under way hardly anybody looks: each look wakes the process.
func TestLagLooksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLag(t)
		looks, last := 0, time.Duration(0)
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			l.mu.Lock()
			if l.due != last {
				looks, last = looks+1, l.due
			}
			l.mu.Unlock()
		}
		if looks > 65 {
			t.Errorf("%d looks in a minute", looks)
		}
	})
}
