package balancer

import (
	"sync/atomic"
	"time"
)

// Recounting reports whether the table is too young to know all sessions of a
// site with this idle time: there may be more than it counts. It is for as long as a
// cookie is good that was issued in the second of the table's birth, or by a move in that
// second, whose cookie is ahead of the clock (see Pool.settle). Cookies that are further ahead,
// of proxies whose clocks are, or of several moves in a second, are not waited for.
func (s *Sessions) Recounting(idle time.Duration, now int64) bool {
	born := s.born.Load()
	return born == 0 || now/1000-born/1000 <= grace(idle)+moveAhead
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
// Unix milliseconds; 0: unknown.
func (u *Upstream) started() int64 { return max(u.spec.Load().Started, u.seen.Load()) }

// recounting reports whether u may have sessions that the table does not know.
func (u *Upstream) recounting(now int64) bool {
	started, born := u.started(), u.pool.b.sessions.born.Load()
	if young := started > 0 && born > 0 && started >= born; !young && u.pool.b.sessions.Recounting(u.pool.Config().Idle, now) {
		return true
	}
	return u.pool.revived.recounting(started, now)
}

// recounting reports whether p may have sessions that the table does not know.
func (p *Pool) recounting(now int64) bool {
	return p.b.sessions.Recounting(p.Config().Idle, now) || p.revived.recounting(0, now)
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

// recounting reports whether such sessions may come back to an instance that was started
// at a time (Unix milliseconds; 0: unknown).
func (r *revival) recounting(started, now int64) bool {
	at := r.at.Load()
	return at > 0 && started < at && now/1000 <= r.until.Load()
}
