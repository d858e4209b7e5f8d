package probe

import (
	"context"
	"sync"
	"time"

	"portico/internal/pause"
)

const (
	lagEvery = 50 * time.Millisecond  // how often the proxy looks whether it is late while a check is under way
	lagRest  = time.Second            // the same while none is: each look wakes the process
	lagSlack = 200 * time.Millisecond // what a busy machine is late by as a rule
)

// lag measures for how long the proxy itself stood still: it was starved of processor time, or
// stopped. In that time it saw no answer, whoever gave one. It looks at the clock now and then, often while a check
// waits for an answer. What it finds is less than what was by that time at most.
type lag struct {
	began time.Time
	wake  chan struct{}

	mu    sync.Mutex
	due   time.Duration // when it looks next, since began; guarded by mu
	total time.Duration // for how long it stood still until then; guarded by mu
	wants int           // checks under way; guarded by mu
}

func newLag() *lag { return &lag{began: time.Now(), due: lagRest, wake: make(chan struct{}, 1)} }

// run looks until ctx ends.
func (l *lag) run(ctx context.Context) {
	t := time.NewTimer(l.look())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake: // only to look sooner
		case <-t.C:
		}
		t.Reset(l.look())
	}
}

// look notes how late it is, and returns when to look again.
func (l *lag) look() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lookLocked()
	return l.due - time.Since(l.began)
}

func (l *lag) lookLocked() {
	now := time.Since(l.began)
	l.total += l.lateLocked(now)
	if l.wants > 0 {
		l.due = now + lagEvery
	} else {
		l.due = now + pause.Tick(lagRest)
	}
}

// lateLocked is by how much more than usual the next look is late.
func (l *lag) lateLocked(now time.Duration) time.Duration { return max(now-l.due-lagSlack, 0) }

// sum returns for how long the proxy stood still in all, with a pause from which it has
// just returned.
func (l *lag) sum() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total + l.lateLocked(time.Since(l.began))
}

// during has it look often from now until the returned function is called, which tells for how long the proxy stood
// still meanwhile.
func (l *lag) during() (stood func() time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wants++
	l.lookLocked()
	before := l.total
	late := time.AfterFunc(lagEvery, l.hurry) // most checks are over by then, and need no look
	return func() time.Duration {
		late.Stop()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.wants--
		l.lookLocked()
		return l.total - before
	}
}

// hurry has run look at once, and then often.
func (l *lag) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// watch is since when a check's instance was looked at, by the time of day and by a clock that
// nobody sets.
type watch struct {
	at  time.Time
	sum time.Duration
}

// since returns for how much of the time since before nobody looked, and starts anew: what
// the proxy stood still, and what the clock was set by.
func (l *lag) since(before watch) (time.Duration, watch) {
	now := watch{at: time.Now(), sum: l.sum()}
	if before.at.IsZero() {
		return 0, now
	}
	missed := now.sum - before.sum
	if step := now.at.Round(0).Sub(before.at.Round(0)) - now.at.Sub(before.at); step.Abs() > time.Second {
		missed += step
	}
	return missed, now
}
