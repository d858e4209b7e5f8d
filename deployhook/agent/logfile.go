package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A process writes its log itself: standard output and error are the file,
// opened for appending. A pipe to the agent would end with the agent, and a
// process in between for each instance would cost more than it brings. So that a
// log cannot fill the disk, the agent looks at its size and, past the limit,
// copies the newest part to LOG.1 and cuts the file (copytruncate): lines that
// are written between the two are lost, which the loser has brought upon itself.

const (
	logPoll = 200 * time.Millisecond // a process can write a few hundred MB in between
	logKept = 5                      // logs of ended instances that stay, for each site
)

// openLog opens the log of one instance. The account owns it, because programs
// open /dev/stdout and /dev/stderr anew; the folder is the agent's.
func (a *Agent) openLog(d siteDirs, name string, acc account) (*os.File, error) {
	f, err := os.OpenFile(d.log(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if a.root {
		if err := f.Chown(acc.UID, acc.GID); err != nil {
			return nil, errors.Join(fmt.Errorf("open log: %w", err), f.Close())
		}
	}
	return f, nil
}

// capLogs keeps the logs of all sites under their limit for as long as ctx lives.
func (a *Agent) capLogs(ctx context.Context) {
	t := time.NewTicker(logPoll)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		names, _ := filepath.Glob(filepath.Join(a.o.Dir, "sites", "*", "log", "*.log"))
		for _, name := range names {
			if err := capLog(name, a.o.LogSize); err != nil && !errors.Is(err, fs.ErrNotExist) {
				a.log.Warn("log not cut", "file", name, "error", err)
			}
		}
	}
}

// capLog moves the newest part of a log that is larger than limit aside.
func capLog(name string, limit int64) error {
	fi, err := os.Lstat(name)
	if err != nil || fi.Size() <= limit {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = copyEnd(name+".1", f, limit)
	// The cut comes whatever became of the copy: a full disk is why there must
	// be one.
	return errors.Join(err, f.Truncate(0))
}

// copyEnd writes the last limit bytes of f to a file that replaces name.
func copyEnd(name string, f *os.File, limit int64) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(f, max(0, end-limit), min(end, limit)))
	if err = errors.Join(err, to.Close()); err != nil {
		_ = os.Remove(name)
	}
	return err
}

// tidyLogs removes the oldest logs of ended instances.
func (a *Agent) tidyLogs(d siteDirs) error {
	entries, err := os.ReadDir(d.logs())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	type ended struct {
		id string
		at time.Time
	}
	var list []ended
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".log")
		if !ok || id == commandLog || a.instance(id) != nil {
			continue
		}
		if fi, err := e.Info(); err == nil {
			list = append(list, ended{id, fi.ModTime()})
		}
	}
	slices.SortFunc(list, func(x, y ended) int { return y.at.Compare(x.at) })
	var errs []error
	for _, e := range list[min(len(list), logKept):] {
		errs = append(errs, os.Remove(d.log(e.id)))
		if err := os.Remove(d.log(e.id) + ".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

const (
	tailBytes = 256 << 10 // read at most from the end of a log
	lineBytes = 4 << 10   // of a line in a report
)

// tailFile returns the last n lines of a log.
func tailFile(name string, n int) ([]string, error) { return tailFrom(name, 0, n) }

// tailFrom returns the last n lines of what a log holds from an offset on.
func tailFrom(name string, from int64, n int) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
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
