// Package backoff says how long a process that has ended is left alone before it is started again.
package backoff

import "time"

const (
	firstDelay = 100 * time.Millisecond // a single crash costs visitors no more than this
	lastDelay  = 30 * time.Second       // a broken release costs the machine no more than this
	// StableRun is how long a process must have run for its end to count as a
	// first one again: twice the longest pause.
	StableRun = 2 * lastDelay
	// loopRuns short runs in a row are called a crash loop.
	loopRuns = 3
)

// Backoff is the rule by which a process is started again. It has no clock: the
// caller says how long the process ran. The zero value is ready.
type Backoff struct {
	short int // runs in a row that did not last
}

// Next returns how long to wait before the next start, after a run of this length.
func (b *Backoff) Next(ran time.Duration) time.Duration {
	if ran >= StableRun {
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

// Runs is how many runs in a row did not last.
func (b *Backoff) Runs() int { return b.short }

// Looping reports whether the last runs were all short.
func (b *Backoff) Looping() bool { return b.short >= loopRuns }

// Reset forgets the past, for a new attempt that somebody asked for.
func (b *Backoff) Reset() { b.short = 0 }
