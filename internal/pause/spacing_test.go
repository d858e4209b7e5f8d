package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"portico/internal/pause"
)

func TestSpacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pause.Spacing{Rest: 250 * time.Millisecond, Part: 10}
		piece := func(quiet, takes, want time.Duration) {
			t.Helper()
			time.Sleep(quiet) // of the bubble's clock: it takes no time
			asked := time.Now()
			if err := s.Wait(t.Context()); err != nil || time.Since(asked) != want {
				t.Errorf("it begins after %v, %v, want %v", time.Since(asked), err, want)
			}
			began := time.Now()
			time.Sleep(takes)
			s.Done(began)
		}
		piece(0, time.Millisecond, 0)
		piece(0, 20*time.Millisecond, 9*time.Millisecond)             // small work rests shortly
		piece(100*time.Millisecond, time.Second, 80*time.Millisecond) // of 180
		piece(0, time.Second, 250*time.Millisecond)                   // never longer than Rest
		piece(time.Second, 0, 0)                                      // who comes later waits for nothing
		piece(0, time.Hour, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		cancel(why)
		if err := s.Wait(ctx); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
	})
}
