package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/beneath"
	"portico/deployhook/agent/folders"
)

// A process writes its log itself: standard output and error are the file,
// opened for appending. A pipe to the agent would end with the agent, and a
// process in between for each instance would cost more than it brings. So that a
// log cannot fill the disk, the agent looks at its size and, past the limit,
// copies the newest part to LOG.1 and cuts the file (copytruncate): lines that
// are written between the two are lost, which the loser has brought upon itself.

const (
	logKept = 5 // logs of ended instances that stay, for each site

	logSuffix = ".log"
)

// openLog opens the log of one instance. The account owns it, because programs
// open /dev/stdout and /dev/stderr anew; the folder is the agent's.
func (a *Agent) openLog(d folders.Site, name, release string, acc account.Account) (*os.File, error) {
	logs, err := beneath.Open(d.Logs())
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer logs.Close()
	if name != commandLog {
		if err := newTimes(logs, name, release); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
	}
	f, _, err := logs.OpenFile(name+logSuffix, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	signal(a.logOpened)
	if a.root {
		if err := f.Chown(acc.UID, acc.GID); err != nil {
			return nil, errors.Join(fmt.Errorf("open log: %w", err), f.Close())
		}
	}
	return f, nil
}

// logGap is between two warnings of a site's logs.
const logGap = time.Minute

// capSite cuts the logs of one site. A site that keeps the agent from it, by a lease
// on its log for instance, is held back: its log would fill the disk. It reports whether all went well.
func (a *Agent) capSite(dir string, told map[string]time.Time, times logTimes) (ok bool) {
	site := filepath.Base(filepath.Dir(dir))
	err := capAll(dir, a.o.LogSize, times)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	reason := ""
	if errors.Is(err, errLogTooLarge) {
		reason = fmt.Sprintf("stopped: its log cannot be cut: %v; it starts again by itself when it can", err)
	}
	if err != nil && time.Since(told[site]) > logGap {
		told[site] = time.Now()
		a.log.Warn("log not cut", "folder", dir, "error", err)
	}
	a.holdBack(site, heldForLog, reason)
	return err == nil
}

// logSlack is what a file system may give a file beyond its size: what a site
// reserves on top of that (fallocate) counts as its log's.
const logSlack = 64 << 10

// errLogTooLarge: a log is logExcess times as large as it may be and cannot be cut.
var errLogTooLarge = errors.New("it is far larger than a log may be")

const logExcess = 4

// capAll cuts the logs of one site, and notes their times.
func capAll(dir string, limit int64, times logTimes) error {
	logs, err := beneath.Open(dir)
	if err != nil {
		return err
	}
	defer logs.Close()
	names, err := logs.Names()
	errs := []error{err}
	for _, name := range names {
		id, ok := strings.CutSuffix(name, logSuffix)
		if !ok {
			continue
		}
		if fi, err := logs.Lstat(name); err == nil {
			errs = append(errs, times.note(logs, dir, id, fi))
		}
		if err := capLog(logs, name, limit); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// capLog moves the newest part of a log that is larger than limit aside.
func capLog(logs *beneath.Dir, name string, limit int64) error {
	fi, err := logs.Lstat(name)
	if err != nil || fi.Size() <= limit && beneath.Allotted(fi) <= limit+logSlack {
		return err
	}
	f, _, err := logs.OpenFile(name, os.O_RDWR, 0)
	if err != nil && beneath.Allotted(fi) > logExcess*limit {
		return fmt.Errorf("%w, and %w", err, errLogTooLarge)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = copyEnd(logs, name+".1", f, limit)
	// The cut comes whatever became of the copy: a full disk is why there must
	// be one.
	return errors.Join(err, f.Truncate(0))
}

// copyEnd writes the last limit bytes of f to a file that replaces name.
func copyEnd(logs *beneath.Dir, name string, f *os.File, limit int64) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err := logs.RemoveAll(name); err != nil {
		return err
	}
	to, _, err := logs.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(f, max(0, end-limit), min(end, limit)))
	if err = errors.Join(err, to.Close()); err != nil {
		_ = logs.RemoveAll(name)
	}
	return err
}

// tidyLogs removes the oldest logs of ended instances.
func (a *Agent) tidyLogs(d folders.Site) error {
	logs, err := beneath.Open(d.Logs())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer logs.Close()
	names, err := logs.Names()
	if err != nil {
		return err
	}
	type ended struct {
		name string
		at   time.Time
	}
	var list []ended
	for _, name := range names {
		id, ok := strings.CutSuffix(name, logSuffix)
		if !ok || id == commandLog || a.instance(id) != nil {
			continue
		}
		if fi, err := logs.Lstat(name); err == nil {
			list = append(list, ended{name, fi.ModTime()})
		}
	}
	slices.SortFunc(list, func(x, y ended) int { return y.at.Compare(x.at) })
	var errs []error
	for _, e := range list[min(len(list), logKept):] {
		errs = append(errs, logs.RemoveAll(e.name), logs.RemoveAll(e.name+".1"), logs.RemoveAll(strings.TrimSuffix(e.name, logSuffix)+timesSuffix))
	}
	return errors.Join(errs...)
}

// readLog opens the log of one instance for reading.
func readLog(dir, instance string) (*os.File, error) {
	logs, err := beneath.Open(dir)
	if err != nil {
		return nil, err
	}
	f, _, err := logs.File(instance + logSuffix)
	_ = logs.Close()
	return f, err
}

const (
	tailBytes = 256 << 10 // read at most from the end of a log
	lineBytes = 4 << 10   // of a line in a report
)

// tailOf returns the last n lines of what the log of an instance holds from an offset on.
func tailOf(dir, instance string, from int64, n int) ([]string, error) {
	f, err := readLog(dir, instance)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return tailFrom(f, from, n)
}

// tailFrom returns the last n lines of what a log holds from an offset on.
func tailFrom(f *os.File, from int64, n int) ([]string, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	start := max(from, end-tailBytes)
	if start > end {
		start = 0 // cut in between
	}
	b := make([]byte, end-start)
	k, err := f.ReadAt(b, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return lastLines(b[:k], n), nil
}

// lastLines returns the last n lines of b, cut to a length and made printable.
func lastLines(b []byte, n int) []string {
	lines := []string{}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, tailBytes+1)
	for sc.Scan() {
		line := sc.Bytes()
		lines = append(lines, cleanLine(line[:min(len(line), lineBytes)]))
	}
	return lines[max(0, len(lines)-n):]
}

// cleanLine takes out of a line what would move a terminal's cursor.
func cleanLine(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}
