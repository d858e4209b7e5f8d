package backoff

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestBackoff follows the rule through an hour of a release that ends after a
// second, then through one that ran well for long.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Backoff
		began, starts := time.Now(), 0
		var delays []time.Duration
		for time.Since(began) < time.Hour {
			starts++
			time.Sleep(time.Second)
			d := b.Next(time.Second)
			delays = append(delays, d)
			time.Sleep(d)
		}
		want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600}
		for i, w := range want {
			if delays[i] != w*time.Millisecond {
				t.Errorf("pause %d is %v, want %v", i, delays[i], w*time.Millisecond)
			}
		}
		if last := delays[len(delays)-1]; last != lastDelay {
			t.Errorf("the last pause is %v", last)
		}
		if starts > 140 {
			t.Errorf("G3: %d starts in an hour", starts)
		}
		if !b.Looping() {
			t.Error("no crash loop is seen")
		}
		if d := b.Next(StableRun); d != firstDelay || b.Looping() {
			t.Errorf("after a long run: pause %v, looping %v", d, b.Looping())
		}
	})
}
