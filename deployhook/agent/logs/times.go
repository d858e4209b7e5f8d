package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
	"strings"
	"time"

	"portico/deployhook/agent/beneath"
	"portico/membership/catalog/ids"
)

// A process writes its log itself, so no line says when it was written. The agent notes beside
// each log how long it was at which times, from its looks at the sizes: a line was written before the
// first of these times at which the log held it.

const (
	timesSuffix = ".times"
	markGap     = time.Second // between two marks of one log
	timesSize   = 128 << 10   // bytes of marks; past it every other one goes
)

// mark says that a log had that many bytes, the last of them written at that time.
type mark struct {
	size int64
	at   time.Time
}

// logAbout is what is known of a log beside its lines.
type logAbout struct {
	release string // of the instance; empty: not known
	marks   []mark // ascending
}

// newTimes begins the notes of an instance's log.
func newTimes(logs *beneath.Dir, instance, release string) error {
	return writeTimes(logs, instance, logAbout{release: release})
}

func writeTimes(logs *beneath.Dir, instance string, about logAbout) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "release %s\n", about.release)
	for _, m := range about.marks {
		fmt.Fprintf(&b, "%d %d\n", m.size, m.at.UnixMilli())
	}
	return appendTimes(logs, instance, b.Bytes(), os.O_TRUNC)
}

func appendTimes(logs *beneath.Dir, instance string, data []byte, how int) error {
	f, _, err := logs.OpenFile(instance+timesSuffix, os.O_CREATE|os.O_WRONLY|how, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// readTimes reads the notes of a log; one without any is of no known release.
func readTimes(logs *beneath.Dir, instance string) logAbout {
	var about logAbout
	f, _, err := logs.File(instance + timesSuffix)
	if err != nil {
		return about
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 2*timesSize))
	if err != nil {
		return about
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if release, ok := strings.CutPrefix(line, "release "); ok {
			if ids.ValidRelease(release) == nil {
				about.release = release
			}
			continue
		}
		var size, at int64
		if _, err := fmt.Sscanf(line, "%d %d", &size, &at); err != nil {
			continue
		}
		if n := len(about.marks); n == 0 || size > about.marks[n-1].size {
			about.marks = append(about.marks, mark{size, time.UnixMilli(at)})
		}
	}
	return about
}

// at returns when the byte at an offset was written, at the latest; until is the time for what no
// mark covers.
func (l logAbout) at(offset int64, until time.Time) time.Time {
	i := sort.Search(len(l.marks), func(i int) bool { return l.marks[i].size > offset })
	if i == len(l.marks) {
		return until
	}
	return l.marks[i].at
}

// from returns the offset at which a log goes on after a time.
func (l logAbout) from(since time.Time) int64 {
	i := sort.Search(len(l.marks), func(i int) bool { return !l.marks[i].at.Before(since) })
	if i == 0 {
		return 0
	}
	return l.marks[i-1].size
}

// logTimes notes the times of all logs. It belongs to the goroutine that looks at them.
type logTimes map[string]mark // folder and instance to the last mark

// note takes in what a look at a log has seen. A log that is shorter than it was has been cut.
func (t logTimes) note(logs *beneath.Dir, dir, instance string, fi fs.FileInfo) error {
	key := dir + "/" + instance
	last, known := t[key]
	now := mark{fi.Size(), fi.ModTime()}
	switch {
	case known && now.size == last.size, now.size == 0 && !known:
		return nil
	case !known:
		about := readTimes(logs, instance)
		if n := len(about.marks); n > 0 {
			last = about.marks[n-1]
		}
		t[key] = last
	}
	if now.size < last.size {
		about := readTimes(logs, instance)
		about.marks = nil
		t[key] = mark{}
		return writeTimes(logs, instance, about)
	}
	if now.size == last.size || now.at.Sub(last.at) < markGap && last.size > 0 {
		return nil
	}
	t[key] = now
	if err := appendTimes(logs, instance, fmt.Appendf(nil, "%d %d\n", now.size, now.at.UnixMilli()), os.O_APPEND); err != nil {
		return err
	}
	if own, err := logs.Lstat(instance + timesSuffix); err != nil || own.Size() <= timesSize {
		return err
	}
	return thin(logs, instance)
}

// thin drops every other mark of a log.
func thin(logs *beneath.Dir, instance string) error {
	about := readTimes(logs, instance)
	kept := about.marks[:0]
	for i, m := range about.marks {
		if i%2 == 1 || i == len(about.marks)-1 {
			kept = append(kept, m)
		}
	}
	about.marks = kept
	return writeTimes(logs, instance, about)
}
