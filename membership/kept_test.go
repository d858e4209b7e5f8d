package membership

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeptListIsWrittenWhenItChanges: a crowd makes one write, what is the same or empty makes none, and at rest nothing runs.
func TestKeptListIsWrittenWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		k, err := openKept(dir)
		if err != nil {
			t.Fatal(err)
		}
		var others []string
		asked := 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.run(ctx, func() []string { asked++; return others }, slog.New(slog.DiscardHandler))
		}()
		defer func() { cancel(); <-done }()
		written := func() bool { // since it was asked last
			name := filepath.Join(dir, keptName)
			_, err := os.Stat(name)
			if err == nil {
				err = os.Remove(name)
			}
			return err == nil
		}
		step := func(addrs ...string) {
			others = addrs
			for range 10 {
				k.changed()
			}
			time.Sleep(3 * keptPause)
			synctest.Wait()
		}
		step("10.0.0.1:7946", "10.0.0.2:7946")
		if !written() {
			t.Error("a new list is not written")
		}
		step("10.0.0.1:7946", "10.0.0.2:7946")
		step()
		if written() {
			t.Error("a list that is the same, or empty, is written")
		}
		before := asked
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked != before {
			t.Errorf("at rest the members were asked for %d times", asked-before)
		}
		if got, want := k.with([]string{"10.0.0.2:7946"}), []string{"10.0.0.2:7946", "10.0.0.1:7946"}; !slices.Equal(got, want) {
			t.Errorf("to be joined: %v, want %v", got, want)
		}
	})
}
