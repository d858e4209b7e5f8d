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
		k, err := openSnapshot(dir)
		if err != nil {
			t.Fatal(err)
		}
		one, two := snapshotMember{"one", "f1", "10.0.0.1:7946"}, snapshotMember{"two", "f2", "10.0.0.2:7946"}
		var others []snapshotMember
		asked := 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.run(ctx, func() []snapshotMember { asked++; return others }, slog.New(slog.DiscardHandler))
		}()
		defer func() { cancel(); <-done }()
		written := func() bool { // since it was asked last
			name := filepath.Join(dir, snapshotName)
			_, err := os.Stat(name)
			if err == nil {
				err = os.Remove(name)
			}
			return err == nil
		}
		step := func(members ...snapshotMember) {
			others = members
			for range 10 {
				k.changed()
			}
			time.Sleep(3 * snapshotPause) // by the clock of the bubble, which takes no time
			synctest.Wait()
		}
		step(one, two)
		if !written() {
			t.Error("a new list is not written")
		}
		step(one, two)
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
		all := func(string, string) bool { return true }
		if got, want := k.with([]string{"10.0.0.2:7946"}, all), []string{"10.0.0.2:7946", "10.0.0.1:7946"}; !slices.Equal(got, want) {
			t.Errorf("to be joined: %v, want %v", got, want)
		}
		// The last other member was removed: nobody dials its address for ever.
		if got := k.with(nil, func(name, fingerprint string) bool { return name == "two" && fingerprint == "f2" }); !slices.Equal(got, []string{"10.0.0.2:7946"}) {
			t.Errorf("to be joined after one was removed: %v", got)
		}
	})
}

// TestKeptListThatCannotBeRead: it is none, whatever a part of it says.
func TestKeptListThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{`["10.0.0.1:7946"]`, `[{"Name":"one","Fingerprint":"f1","Addr":"10.0.0.1:7946"},5]`, `[{"Name"`} {
		if err := os.WriteFile(filepath.Join(dir, snapshotName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := openSnapshot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.with(nil, func(string, string) bool { return true }); len(got) > 0 {
			t.Errorf("of %s it has %v", text, got)
		}
	}
}
