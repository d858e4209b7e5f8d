// Package pause waits for a time that can be cut short.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends, and then returns ctx's cause. It does not wait
// at all when d is 0 or less, or when ctx has ended.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
