package logs

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestSilentLogEnds: the log of a member that falls silent is asked for anew, also if it was silent when it was asked and came back
// meanwhile; one that was never heard of is read on.
func TestSilentLogEnds(t *testing.T) {
	for _, c := range []struct {
		name         string
		heard, stops time.Duration // the member is heard of between these
		ends         bool
	}{
		{"heard from the beginning", 0, time.Minute, true},
		{"came back", 8 * time.Second, time.Minute, true},
		{"never heard", time.Hour, time.Hour, false},
		{"goes on", 0, time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				began := time.Now()
				go endSilent(ctx, cancel, func() bool {
					since := time.Since(began)
					return since < c.heard || since >= c.stops
				})
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if ended := context.Cause(ctx) == errSilent; ended != c.ends {
					t.Errorf("it ended: %v, want %v", ended, c.ends)
				}
			})
		})
	}
}
