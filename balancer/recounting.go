package balancer

import (
	"sync/atomic"

	"portico/balancer/meter"
	"portico/balancer/seal"
)

// Load returns what an instance still holds here: live sessions, and requests in
// flight. known is false while this proxy is too young to be sure, see
// sessions.Table.Recounting: an instance must not be stopped on its word then. One that keeps
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

// KnownSince is since when this table, or the one that it was restored from, knows u (Unix milliseconds); 0: unknown.
// The start of u was read from another machine's clock, so it counts for less than what this
// proxy saw: an upstream that was there when the table was born is older than the table.
func (u *Upstream) KnownSince() int64 {
	if seen := u.seen.Load(); seen > 0 {
		return seen
	}
	started, born := u.spec.Load().Started, u.pool.b.sessions.Born()
	if u.heard <= born {
		return min(started, born-1)
	}
	return started
}

// recounting reports whether u may have sessions that the table does not know.
func (u *Upstream) recounting(now int64) bool {
	started, born := u.KnownSince(), u.pool.b.sessions.Born()
	if young := started > 0 && born > 0 && started >= born; !young && u.pool.b.sessions.Recounting(u.pool.Config().Idle, now) {
		return true
	}
	return u.pool.revived.recounting(u.heard, now) || u.pool.b.sessions.SetBack(now)
}

// revival is what a longer idle time or life brings back. Some sessions had ended by the shorter one, and the table has
// forgotten them; now their cookies are good again. A restart forgets the revival.
type revival struct {
	at    atomic.Int64 // Unix milliseconds; 0: never
	until atomic.Int64 // Unix seconds, the last in which such a cookie is good
}

// note compares two configurations, the second of which holds from now on.
func (r *revival) note(old, c *Config, now int64) {
	until := int64(0)
	if seal.Grace(c.Idle) > seal.Grace(old.Idle) {
		until = now/1000 + seal.Grace(c.Idle) - seal.Grace(old.Idle)
	}
	if old.Life > 0 && (c.Life <= 0 || c.Life > old.Life) {
		until = now/1000 + seal.Grace(c.Idle)
	}
	if until > 0 {
		meter.Raise(&r.until, until)
		r.at.Store(now)
	}
}

// recounting reports whether such sessions may come back to an instance. The proxy knows it since heard (Unix
// milliseconds; 0: always).
func (r *revival) recounting(heard, now int64) bool {
	at := r.at.Load()
	return at > 0 && heard < at && now/1000 <= r.until.Load()
}
