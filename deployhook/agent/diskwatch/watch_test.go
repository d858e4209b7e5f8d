package diskwatch

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestSitesAtRest: sites are counted every ten seconds, and what is due is looked at every two: each look wakes the machine.
func TestSitesAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks, counts := 0, map[time.Time]bool{}
		dir := t.TempDir()
		w := &Watch{Dir: dir, Reserve: 1, Hold: func(string, string) {}, Logger: slog.New(slog.DiscardHandler)}
		w.Sites = func() []Site {
			looks++
			w.mu.Lock()
			defer w.mu.Unlock()
			if s := w.seen["shop"]; s != nil {
				counts[s.at] = true
			}
			return []Site{{Name: "shop", Root: dir}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		defer func() { cancel(); <-done }()
		const rest = 10 * time.Minute
		time.Sleep(rest)
		synctest.Wait()
		if most := int(rest/look) + 2; looks > most {
			t.Errorf("%d looks in %v, want at most %d", looks, rest, most)
		}
		if want := int(rest / countGap); len(counts) < want-1 || len(counts) > want+1 {
			t.Errorf("counted %d times in %v, want %d", len(counts), rest, want)
		}
	})
}
