package etcdlog

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What etcd repeats is told once a minute, with a count.
func TestRepeatedWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(New(slog.NewTextHandler(&out, nil))).With("part", "catalog")
		for range 1000 {
			log.Warn("dropped internal Raft message", "to", "a")
			log.With("x", 1).Warn("failed to send out heartbeat")
		}
		time.Sleep(every)
		log.Warn("dropped internal Raft message", "to", "a")
		log.Warn("dropped internal Raft message", "to", "a")
		if lines := strings.Count(out.String(), "\n"); lines != 3 || !strings.Contains(out.String(), "times=1000") {
			t.Errorf("2,002 warnings make %d lines:\n%.2000s", lines, out.String())
		}
	})
}
