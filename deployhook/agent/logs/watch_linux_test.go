package logs

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestLogsThatRestAreLeftAlone: the kernel tells which folder has a log that grew; nothing else there wakes anybody.
func TestLogsThatRestAreLeftAlone(t *testing.T) {
	w := newWatch()
	if w == nil {
		const what = "no more inotify watches here: raise fs.inotify.max_user_instances"
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	defer func() { cancel(); <-done }()

	busy, idle := t.TempDir(), t.TempDir()
	w.follow([]string{busy, idle, filepath.Join(idle, "missing")})
	w.follow([]string{busy, idle}) // once more changes nothing
	grow := func(dir, name string) {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString("a line\n")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		grow(idle, "one.times")
		grow(idle, "one.log.1")
		for range 100 {
			grow(busy, "one.log")
		}
		select {
		case got := <-w.changed():
			if dirs := slices.Collect(maps.Keys(got)); !slices.Equal(dirs, []string{busy}) {
				t.Fatalf("grown: %v", dirs)
			}
		case <-time.After(time.Minute):
			t.Fatal("nobody tells of a log that grows")
		}
		for len(w.changed()) > 0 {
			<-w.changed()
		}
	}
}
