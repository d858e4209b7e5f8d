package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"portico/internal/pause"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		waited := func(d time.Duration, want time.Duration, end error) {
			t.Helper()
			began := time.Now()
			if err := pause.For(ctx, d); !errors.Is(err, end) || time.Since(began) != want {
				t.Errorf("after %v: %v, want %v after %v", time.Since(began), err, end, want)
			}
		}
		waited(time.Minute, time.Minute, nil)
		waited(0, 0, nil)
		waited(-time.Minute, 0, nil)
		time.AfterFunc(time.Second, func() { cancel(why) })
		waited(time.Minute, time.Second, why)
		waited(time.Minute, 0, why)
		waited(0, 0, why)
	})
}
