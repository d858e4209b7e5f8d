package agent

import (
	"context"
	"maps"
	"path/filepath"
	"time"

	"portico/internal/pause"
)

const (
	logPoll = 200 * time.Millisecond // between two looks at a log that grows; a process can write a few hundred MB in between
	logLook = 2 * time.Second        // between looks at logs of which the system does not tell, and at those that could not be cut
	logAll  = time.Minute            // between looks at all logs, where the system tells: it may keep something to itself
)

// logWatch tells which folders of logs have changed, so that logs at which nobody writes cost nothing.
type logWatch interface {
	follow(dirs []string) (not []string) // the folders that there are now; it returns those of which it cannot tell
	changed() <-chan map[string]bool     // folders in which a log was written to, at most one set in logPoll
	run(ctx context.Context)             // until ctx ends, or until it cannot tell any more
}

// capLogs keeps the logs of all sites under their limit for as long as ctx lives.
func (a *Agent) capLogs(ctx context.Context) { a.capLogsBy(ctx, newLogWatch()) }

// capLogsBy is capLogs with a watch; nil: the system has none.
func (a *Agent) capLogsBy(ctx context.Context, watch logWatch) {
	c := logCapper{a: a, told: make(map[string]time.Time), times: make(logTimes), again: make(map[string]bool)}
	if watch != nil {
		c.follow(ctx, watch)
	}
	if ctx.Err() == nil {
		c.poll(ctx)
	}
}

// logCapper looks at the logs of all sites.
type logCapper struct {
	a     *Agent
	told  map[string]time.Time // when the log last said that a site's could not be cut
	times logTimes
	again map[string]bool // folders that are looked at in turn, where the system tells of the others
}

// poll looks at all logs in turn, until ctx ends.
func (c *logCapper) poll(ctx context.Context) {
	for {
		for _, dir := range c.dirs() {
			c.look(dir)
		}
		if pause.ForStroke(ctx, logPoll) != nil {
			return
		}
	}
}

// follow looks at the logs of which the system tells, until ctx ends or it cannot tell any more.
func (c *logCapper) follow(ctx context.Context, watch logWatch) {
	over := make(chan struct{})
	defer func() { <-over }()
	go func() { defer close(over); watch.run(ctx) }()
	all, some := pause.NewStrokes(logAll), pause.NewStrokes(logLook)
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
		case <-c.a.logOpened:
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
func (c *logCapper) lookAtAll(watch logWatch) {
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

func (c *logCapper) dirs() []string {
	dirs, _ := filepath.Glob(filepath.Join(c.a.o.Dir, "sites", "*", "log"))
	return dirs
}

// look looks at the logs of one site, and again in a moment when they could not be cut: nobody tells when they can.
func (c *logCapper) look(dir string) {
	if !c.a.capSite(dir, c.told, c.times) {
		c.again[dir] = true
	}
}
