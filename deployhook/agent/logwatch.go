package agent

import (
	"context"
	"path/filepath"
	"time"

	"portico/internal/pause"
)

const (
	logPoll = 200 * time.Millisecond // between two looks at a log that grows; a process can write a few hundred MB in between
	logLook = 2 * time.Second        // between looks at all logs, where the system tells of those that grow
)

// logWatch tells which folders of logs have changed, so that logs at which nobody writes cost nothing.
type logWatch interface {
	follow(dirs []string)            // the folders that there are now
	changed() <-chan map[string]bool // folders in which a log was written to, at most one set in logPoll
	run(ctx context.Context)         // until ctx ends
}

// capLogs keeps the logs of all sites under their limit for as long as ctx lives.
func (a *Agent) capLogs(ctx context.Context) {
	told, times := make(map[string]time.Time), make(logTimes)
	every, watch := logLook, newLogWatch()
	var changed <-chan map[string]bool
	if watch == nil {
		every = logPoll
	} else {
		changed = watch.changed()
		done := make(chan struct{})
		defer func() { <-done }()
		go func() { defer close(done); watch.run(ctx) }()
	}
	look := pause.NewStrokes(every)
	defer look.Stop()
	for {
		select {
		case dirs := <-changed:
			for dir := range dirs {
				a.capSite(dir, told, times)
			}
			continue
		case <-a.logOpened:
		case <-look.C:
			look.Next()
		case <-ctx.Done():
			return
		}
		dirs, _ := filepath.Glob(filepath.Join(a.o.Dir, "sites", "*", "log"))
		if watch != nil {
			watch.follow(dirs) // before they are looked at: what is written from now on is told
		}
		for _, dir := range dirs {
			a.capSite(dir, told, times)
		}
	}
}
