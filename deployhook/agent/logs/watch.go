package logs

import (
	"context"
	"time"
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
