package deployhook

import (
	"time"

	"portico/internal/units"
)

// noteLeft is how often it is written down how much of the time until a deadline is left. The next who counts, another
// proxy or this one after a restart, goes on from there: a deadline comes later by as much, and by the time in which nobody
// counted, never sooner.
const noteLeft = time.Minute

// countdown is the time until the deadline of one drain. Deadlines are so many hours from when they were ordered, and
// clocks are set: what is counted here is how long the controller has waited, by a clock that nobody sets.
type countdown struct {
	seen time.Time // when this controller saw the drain first
	due  time.Time // when the deadline has come; zero: there is none
}

// begin counts from what is left of an order's time.
func (c *countdown) begin(x *Drain, now time.Time) {
	switch left := x.Left.Std(); {
	case x.Deadline.IsZero():
		c.due = time.Time{}
	case left > 0:
		c.due = now.Add(left)
	case !x.Deadline.After(x.Since): // no time was given
		c.due = now
	default: // an earlier version ordered it
		c.due = now.Add(x.Deadline.Sub(now))
	}
}

// over reports whether the deadline has come.
func (c *countdown) over(now time.Time) bool { return !c.due.IsZero() && !now.Before(c.due) }

// settled reports whether the drain goes on for long enough that every proxy knows of it.
func (c *countdown) settled(now time.Time) bool { return now.Sub(c.seen) >= settleTime }

// left is what should be written down, where noted is.
func (c *countdown) left(noted units.Duration, now time.Time) units.Duration {
	if c.due.IsZero() {
		return 0
	}
	left := max(c.due.Sub(now), time.Second).Truncate(time.Second)
	if noted.Std()-left < noteLeft {
		return noted
	}
	return units.Duration(left)
}
