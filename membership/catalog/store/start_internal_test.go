package store

import (
	"log/slog"
	"strings"
	"testing"
)

// TestStartThatNeverEnds: a fault may come up beside the goroutine that starts etcd, which then waits for
// ever for what the fault has ended.
func TestStartThatNeverEnds(t *testing.T) {
	s := &Store{logger: slog.New(slog.DiscardHandler)}
	why := "write db: file too large"
	s.fault.Store(&why)
	if _, err := s.awaitStart(make(chan outcome), "dir"); err == nil || !strings.Contains(startError("dir", err).Error(), "make room") {
		t.Errorf("got %v", err)
	}
}
