package agent

import "time"

const (
	firstDelay = 100 * time.Millisecond // a single crash costs visitors no more than this
	lastDelay  = 30 * time.Second       // a broken release costs the machine no more than this
	// stableRun is how long a process must have run for its end to count as a
	// first one again: twice the longest pause.
	stableRun = 2 * lastDelay
	// loopRuns short runs in a row are called a crash loop.
	loopRuns = 3
)

// backoff is the rule by which a process is started again. It has no clock: the
// caller says how long the process ran. The zero value is ready.
type backoff struct {
	short int // runs in a row that did not last
}

// next returns how long to wait before the next start, after a run of this length.
func (b *backoff) next(ran time.Duration) time.Duration {
	if ran >= stableRun {
		b.short = 0
	}
	b.short++
	d := firstDelay
	for range b.short - 1 {
		if d *= 2; d >= lastDelay {
			return lastDelay
		}
	}
	return d
}

// looping reports whether the last runs were all short.
func (b *backoff) looping() bool { return b.short >= loopRuns }

// reset forgets the past, for a new attempt that somebody asked for.
func (b *backoff) reset() { b.short = 0 }
