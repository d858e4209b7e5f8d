package sessions

import (
	"time"

	"portico/balancer/seal"
)

// Recounting reports whether the table is too young to know all sessions of a
// site with this idle time: there may be more than it counts. It is for as long as a
// cookie is good that was out when the table was born, and be it ahead of this clock.
func (s *Table[U]) Recounting(idle time.Duration, now int64) bool {
	born := s.born.Load()
	return born == 0 || now/1000-born/1000 <= seal.Grace(idle)+Ahead(idle) || s.SetBack(now)
}

// SetBack reports whether the clock has been set back, so that sessions that had ended by it, and were forgotten,
// live again. Less than a second is not told from a caller who is slow.
func (s *Table[U]) SetBack(now int64) bool { return now < s.swept.Load()-1000 }

// Ahead is by how many seconds the time in a cookie may be ahead of a proxy's clock for that proxy's counts
// to be right: another proxy's clock is, or its own was before it was set, or the session was moved several
// times in a second (see balancer.Pool). A quarter of the idle time, as that is also by how much a session's end is
// uncertain, and no more than what is honoured at all.
func Ahead(idle time.Duration) int64 {
	if idle < 0 {
		return seal.ClockSkew
	}
	return max(2, min(seal.ClockSkew, int64(idle/4/time.Second)))
}

// Born returns when the table was used first, Unix milliseconds; 0: never.
func (s *Table[U]) Born() int64 { return s.born.Load() }

// Begin says that there is something to count from now on (Unix milliseconds).
func (s *Table[U]) Begin(now int64) { s.born.CompareAndSwap(0, now) }
