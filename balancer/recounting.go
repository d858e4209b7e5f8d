package balancer

import (
	"sync/atomic"
	"time"

	"portico/balancer/seal"
)

// Recounting reports whether the table is too young to know all sessions of a
// site with this idle time: there may be more than it counts. It is for as long as a
// cookie is good that was out when the table was born, and be it ahead of this clock.
func (s *Sessions) Recounting(idle time.Duration, now int64) bool {
	born := s.born.Load()
	return born == 0 || now/1000-born/1000 <= grace(idle)+ahead(idle) || s.setBack(now)
}

// setBack reports whether the clock has been set back, so that sessions that had ended by it, and were forgotten,
// live again. Less than a second is not told from a caller who is slow.
func (s *Sessions) setBack(now int64) bool { return now < s.swept.Load()-1000 }

// ahead is by how many seconds the time in a cookie may be ahead of a proxy's clock for that proxy's counts
// to be right: another proxy's clock is, or its own was before it was set, or the session was moved several
// times in a second (see Pool.settle). A quarter of the idle time, as that is also by how much a session's end is
// uncertain, and no more than what is honoured at all.
func ahead(idle time.Duration) int64 {
	if idle < 0 {
		return seal.ClockSkew
	}
	return max(2, min(seal.ClockSkew, int64(idle/4/time.Second)))
}

// Load returns what an instance still holds here: live sessions, and requests in
// flight. known is false while this proxy is too young to be sure, see
// Sessions.Recounting: an instance must not be stopped on its word then. One that keeps
// no state holds nobody, except by the files of a release that only it still has.
func (p *Pool) Load(id string, now int64) (sessions, inflight int, known bool) {
	t := p.now.Load()
	u := t.byID[id]
	if u == nil {
		return 0, 0, true
	}
	if s := u.spec.Load(); s.Unpinned && !s.Retiring || t.config.NotSticky {
		return 0, u.InFlight(), true
	}
	return u.Sessions(), u.InFlight(), !u.recounting(now)
}

// started is since when u is known to this table or the one that it was restored from,
// Unix milliseconds; 0: unknown. Another clock says when u was started. It does not make u younger than the
// table if u was there when the table was born.
func (u *Upstream) started() int64 {
	if seen := u.seen.Load(); seen > 0 {
		return seen
	}
	started, born := u.spec.Load().Started, u.pool.b.sessions.born.Load()
	if u.heard <= born {
		return min(started, born-1)
	}
	return started
}

// recounting reports whether u may have sessions that the table does not know.
func (u *Upstream) recounting(now int64) bool {
	started, born := u.started(), u.pool.b.sessions.born.Load()
	if young := started > 0 && born > 0 && started >= born; !young && u.pool.b.sessions.Recounting(u.pool.Config().Idle, now) {
		return true
	}
	return u.pool.revived.recounting(u.heard, now) || u.pool.b.sessions.setBack(now)
}

// revival is what a longer idle time or life brings back: cookies whose sessions had ended by
// the shorter one, and were forgotten, are good again. A restart forgets it.
type revival struct {
	at    atomic.Int64 // Unix milliseconds; 0: never
	until atomic.Int64 // Unix seconds, the last in which such a cookie is good
}

// note compares two configurations, the second of which holds from now on.
func (r *revival) note(old, c *Config, now int64) {
	until := int64(0)
	if grace(c.Idle) > grace(old.Idle) {
		until = now/1000 + grace(c.Idle) - grace(old.Idle)
	}
	if old.Life > 0 && (c.Life <= 0 || c.Life > old.Life) {
		until = now/1000 + grace(c.Idle)
	}
	if until > 0 {
		raise(&r.until, until)
		r.at.Store(now)
	}
}

// recounting reports whether such sessions may come back to an instance that this proxy knows since
// a time (Unix milliseconds; 0: always).
func (r *revival) recounting(heard, now int64) bool {
	at := r.at.Load()
	return at > 0 && heard < at && now/1000 <= r.until.Load()
}
