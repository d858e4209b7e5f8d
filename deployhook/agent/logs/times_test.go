package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/deployhook/agent/beneath"
)

// What the agent saw of a log tells when its lines were written, also after a restart, a cut
// and very many looks.
func TestLogTimes(t *testing.T) {
	dir := t.TempDir()
	logs, err := beneath.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	release := strings.Repeat("ab", 32)
	if err := newTimes(logs, "x", release); err != nil {
		t.Fatal(err)
	}
	start := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())
	name := filepath.Join(dir, "x"+logSuffix)
	times := logTimes{}
	look := func(size int, after time.Duration) {
		t.Helper()
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, start.Add(after), start.Add(after)); err != nil {
			t.Fatal(err)
		}
		fi, err := logs.Lstat("x" + logSuffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := times.note(logs, dir, "x", fi); err != nil {
			t.Fatal(err)
		}
	}
	at := func(offset int64) time.Duration {
		return readTimes(logs, "x").at(offset, start.Add(time.Hour)).Sub(start)
	}
	look(10, 0)
	look(20, 10*time.Millisecond) // too soon for a mark of its own
	look(30, time.Minute)
	times = logTimes{} // another agent
	look(40, 2*time.Minute)
	for offset, want := range map[int64]time.Duration{0: 0, 9: 0, 10: time.Minute, 29: time.Minute, 30: 2 * time.Minute, 40: time.Hour} {
		if got := at(offset); got != want {
			t.Errorf("byte %d was written after %v, want %v", offset, got, want)
		}
	}
	about := readTimes(logs, "x")
	if about.release != release || about.from(start.Add(time.Second)) != 10 || about.from(start) != 0 || about.from(start.Add(time.Hour)) != 40 {
		t.Errorf("notes are %+v", about)
	}
	look(5, 3*time.Minute)
	look(8, 4*time.Minute)
	if got := at(3); got != 4*time.Minute || readTimes(logs, "x").release != release {
		t.Errorf("after a cut byte 3 was written after %v", got)
	}

	var marks []mark
	for i := range int64(7000) {
		marks = append(marks, mark{100 + i, start.Add(time.Duration(i) * time.Second)})
	}
	if err := writeTimes(logs, "x", logAbout{release: release, marks: marks}); err != nil {
		t.Fatal(err)
	}
	times = logTimes{}
	look(20_000, 3*time.Hour)
	fi, err := os.Stat(filepath.Join(dir, "x"+timesSuffix))
	if err != nil || fi.Size() > timesSize {
		t.Fatal(fmt.Sprint("the notes grow without end: ", fi.Size()), err)
	}
	if got := at(150); got != 51*time.Second && got != 50*time.Second {
		t.Errorf("byte 150 was written after %v", got)
	}
	if got := at(19_000); got != 3*time.Hour {
		t.Errorf("the last byte was written after %v", got)
	}
}
