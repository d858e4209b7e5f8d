package sessions

import (
	"time"

	"portico/balancer/seal"
)

// Recounting reports whether the table is too young to know all sessions of a
// site with this idle time: there may be more than it counts. The table is too young while
// a cookie can be good that is older than the table, or was issued by a clock ahead of this one.
func (s *Table[U]) Recounting(idle time.Duration, now int64) bool {
	born := s.born.Load()
	return born == 0 || now/1000-born/1000 <= seal.Grace(idle)+Ahead(idle) || s.SetBack(now)
}

// SetBack reports whether the clock has been set back behind the last sweep. Then sessions live again which a sweep
// has ended and forgotten. Less than a second does not count: it may be a caller who is slow.
func (s *Table[U]) SetBack(now int64) bool { return now < s.swept.Load()-1000 }

// Ahead is by how many seconds the time in a cookie may be ahead of a proxy's clock without that proxy's counts
// becoming wrong. Such cookies come from a proxy whose clock is ahead, from this one before its clock was set back, or from
// several moves in one second (see balancer.Pool). It is a quarter of the idle time, because a session's end is
// uncertain by as much, and at most what is honoured at all.
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
