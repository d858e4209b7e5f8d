package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"portico/deployhook/agent/beneath"
	"portico/internal/pause"
)

// Run keeps the logs of all sites under their limit for as long as ctx lives.
func (k *Keeper) Run(ctx context.Context) { k.runBy(ctx, newWatch()) }

// runBy is run with a watch; nil: the system has none.
func (k *Keeper) runBy(ctx context.Context, watch logWatch) {
	c := capper{k: k, told: make(map[string]time.Time), times: make(logTimes), again: make(map[string]bool)}
	if watch != nil {
		c.follow(ctx, watch)
	}
	if ctx.Err() == nil {
		c.poll(ctx)
	}
}

// capper looks at the logs of all sites.
type capper struct {
	k     *Keeper
	told  map[string]time.Time // when the log last said that a site's could not be cut
	times logTimes
	again map[string]bool // folders that are looked at in turn, where the system tells of the others
}

// poll looks at all logs in turn, until ctx ends.
func (c *capper) poll(ctx context.Context) {
	for {
		for _, dir := range c.dirs() {
			c.look(dir)
		}
		if pause.ForTick(ctx, logPoll) != nil {
			return
		}
	}
}

// follow looks at the logs of which the system tells, until ctx ends or it cannot tell any more.
func (c *capper) follow(ctx context.Context, watch logWatch) {
	over := make(chan struct{})
	defer func() { <-over }()
	go func() { defer close(over); watch.run(ctx) }()
	all, some := pause.NewTicker(logAll), pause.NewTicker(logLook)
	defer all.Stop()
	defer some.Stop()
	c.lookAtAll(watch)
	for {
		var again <-chan time.Time
		if len(c.again) > 0 {
			again = some.C
		}
		select {
		case dirs := <-watch.changed():
			for dir := range dirs {
				c.look(dir)
			}
		case <-again:
			some.Next()
			for dir := range maps.Clone(c.again) {
				c.look(dir)
			}
		case <-c.k.opened:
			c.lookAtAll(watch)
		case <-all.C:
			all.Next()
			c.lookAtAll(watch)
		case <-over:
			return
		}
	}
}

// lookAtAll has the watch tell of all folders that there are, and looks at each of them.
func (c *capper) lookAtAll(watch logWatch) {
	dirs := c.dirs()
	not := watch.follow(dirs) // before they are looked at: what is written from now on is told
	clear(c.again)
	for _, dir := range dirs {
		c.look(dir)
	}
	for _, dir := range not {
		c.again[dir] = true
	}
}

func (c *capper) dirs() []string {
	dirs, _ := filepath.Glob(filepath.Join(c.k.Dir, "sites", "*", "log"))
	return dirs
}

// look looks at the logs of one site, and again in a moment when they could not be cut: nobody tells when they can.
func (c *capper) look(dir string) {
	if !c.k.capSite(dir, c.told, c.times) {
		c.again[dir] = true
	}
}

// logGap is between two warnings of a site's logs.
const logGap = time.Minute

// capSite cuts the logs of one site. A site that keeps the agent from it, by a lease
// on its log for instance, is held back: its log would fill the disk. It reports whether all went well.
func (k *Keeper) capSite(dir string, told map[string]time.Time, times logTimes) (ok bool) {
	site := filepath.Base(filepath.Dir(dir))
	err := capAll(dir, k.Limit, times)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	reason := ""
	if errors.Is(err, errLogTooLarge) {
		reason = fmt.Sprintf("stopped: its log cannot be cut: %v; it starts again by itself when it can", err)
	}
	if err != nil && time.Since(told[site]) > logGap {
		told[site] = time.Now()
		k.Logger.Warn("log not cut", "folder", dir, "error", err)
	}
	k.Hold(site, reason)
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
