package logs

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// scriptedWatch is a logWatch that tells what a test says.
type scriptedWatch struct {
	sets    chan map[string]bool
	not     []string // what it cannot watch
	end     chan struct{}
	follows int // how often all folders were listed
}

func (w *scriptedWatch) follow([]string) []string        { w.follows++; return w.not }
func (w *scriptedWatch) changed() <-chan map[string]bool { return w.sets }

func (w *scriptedWatch) run(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-w.end:
	}
}

// TestLogsAtRest: logs at which nobody writes are listed once a minute, those that grow are cut when it is told, those of
// which nothing is told within two seconds, and all of them when nothing is told any more.
func TestLogsAtRest(t *testing.T) {
	const limit = 1000
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		logs := func(site string) string { return filepath.Join(dir, "sites", site, "log") }
		grow := func(site string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(logs(site), "one"+logSuffix), make([]byte, limit+1), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cut := func(site string) bool {
			fi, err := os.Stat(filepath.Join(logs(site), "one"+logSuffix))
			return err == nil && fi.Size() == 0
		}
		for _, site := range []string{"told", "untold"} {
			if err := os.MkdirAll(logs(site), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		k := NewKeeper(Options{Dir: dir, Limit: limit, Logger: slog.New(slog.DiscardHandler), Hold: func(string, string) {}})
		w := &scriptedWatch{sets: make(chan map[string]bool), not: []string{logs("untold")}, end: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); k.runBy(ctx, w) }()
		defer func() { cancel(); <-done }()

		const rest = 10 * time.Minute
		time.Sleep(rest)
		synctest.Wait()
		if most := int(rest/logAll) + 1; w.follows > most {
			t.Errorf("all logs were listed %d times in %v, want at most %d", w.follows, rest, most)
		}
		grow("told")
		w.sets <- map[string]bool{logs("told"): true}
		synctest.Wait()
		if !cut("told") {
			t.Error("a log that is told to grow is not cut at once")
		}
		grow("untold")
		time.Sleep(2 * logLook)
		synctest.Wait()
		if !cut("untold") {
			t.Errorf("a log of which nothing is told is not cut after %v", 2*logLook)
		}
		close(w.end)
		time.Sleep(2 * logPoll)
		grow("told")
		time.Sleep(2 * logPoll)
		synctest.Wait()
		if !cut("told") {
			t.Error("when nothing is told any more, logs are not looked at in turn")
		}
	})
}
