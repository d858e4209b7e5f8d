package wheel

import (
	"math/rand/v2"
	"testing"
)

// TestWheel: whatever is scheduled, moved and removed, each entry is due once, never before its deadline and not long after it, also where
// Run is stopped in the middle or comes after a long pause.
func TestWheel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var w Wheel[int]
	now := int64(12345 * tick)
	w.Begin(now)
	var entries [200]Entry[int]
	deadlines := map[int]int64{} // the earliest that was asked for since the entry was due
	for range 20_000 {
		i := rnd.IntN(len(entries))
		switch rnd.IntN(4) {
		case 0:
			w.Remove(&entries[i])
			delete(deadlines, i)
		case 1, 2:
			at := now + rnd.Int64N(3*size*tick)
			w.Schedule(&entries[i], i, at)
			if old, ok := deadlines[i]; !ok || at < old {
				deadlines[i] = at
			}
		default:
			now += rnd.Int64N(2 * tick)
			if rnd.IntN(500) == 0 {
				now += 2 * size * tick
			}
			left := rnd.IntN(10)
			through := w.Run(now, func(i int) {
				if at, ok := deadlines[i]; !ok || at >= now {
					t.Fatalf("%d is due %d ns too early, or nobody has scheduled it", i, at-now)
				}
				delete(deadlines, i)
			}, func() bool { left--; return left < 0 })
			if through {
				for i, at := range deadlines {
					if at < now-2*tick {
						t.Fatalf("%d is late by %d ns", i, now-at)
					}
				}
			}
		}
	}
	if w.count != len(deadlines) {
		t.Errorf("the wheel counts %d entries, %d are scheduled", w.count, len(deadlines))
	}
	for i := range entries {
		w.Remove(&entries[i])
	}
	if w.Wait(now) != -1 {
		t.Error("an empty wheel asks to be looked at")
	}
}
