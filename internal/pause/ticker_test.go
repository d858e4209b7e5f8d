package pause_test

import (
	"testing"
	"testing/synctest"
	"time"

	"portico/internal/pause"
)

func TestTickIsShared(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct{ now, every, late, want time.Duration }{
		{0, s, 0, s},
		{s / 2, s, 0, s / 2},
		{9 * s / 10, s, 0, 11 * s / 10}, // too near
		{3 * s / 4, s, 0, s / 4},
		{7*s + s/2, 2 * s, 0, s / 2},
		{7*s + s/2, 10 * s, 0, 5 * s / 2},
		{7*s + s/2, 2 * s, s / 10, 6 * s / 10},
		{s / 20, 2 * s, s / 10, 2*s + s/20},
		{s, s / 10, s / 2, s / 10},
		{-s / 4, s, 0, s / 4},
	} {
		got := pause.TickAt(tt.now, tt.every, tt.late)
		if got != tt.want {
			t.Errorf("%v after the beginning, every %v, late by %v: in %v, want %v", tt.now, tt.every, tt.late, got, tt.want)
		}
		if at := tt.now + got - tt.late; at%tt.every != 0 {
			t.Errorf("every %v, late by %v: it ticks at %v", tt.every, tt.late, tt.now+got)
		}
	}
}

func TestTicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		often, seldom := pause.NewTicker(time.Second), pause.NewTicker(2*time.Second)
		defer often.Stop()
		defer seldom.Stop()
		count := map[time.Time]int{}
		for range 30 {
			select {
			case at := <-often.C:
				count[at]++
				often.Next()
			case at := <-seldom.C:
				count[at]++
				seldom.Next()
			}
		}
		twice := 0
		for _, n := range count {
			twice += n - 1
		}
		if twice < 8 {
			t.Errorf("of 30 ticks %d came with another one, want nearly 10", twice)
		}
	})
}
