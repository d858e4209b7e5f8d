package balancer

import (
	"sync/atomic"

	"portico/conf/sites"
)

// moveBudget bounds how many sessions leave upstreams that have more than their
// share. It is the time at which the next may go: the generic cell rate algorithm.
type moveBudget struct {
	next atomic.Int64 // Unix milliseconds
}

// moveBurst is how many milliseconds of the budget may be used at once.
const moveBurst = 5000

// take reports whether one more may move at now, with so many a minute.
func (m *moveBudget) take(perMinute int, now int64) bool {
	if perMinute <= 0 {
		return false
	}
	each := max(int64(60_000/perMinute), 1)
	for {
		next := m.next.Load()
		from := max(next, now-moveBurst)
		if from > now {
			return false
		}
		if m.next.CompareAndSwap(next, from+each) {
			return true
		}
	}
}

// wantsAway reports whether a session on u had better be elsewhere once that costs
// its visitor nothing: u is being emptied, or has a quarter and some more than its
// share, as after another one has joined, and the budget of such moves allows one.
func (p *Pool) wantsAway(t *table, u *Upstream, now int64) bool {
	if u.leaving() {
		return true
	}
	n := int64(t.ready.Len())
	return n > 1 && t.config.Policy == sites.PolicyLeastSessions && u.load.Seats.Live()*n*4 > t.ready.Sessions()*5+8*n &&
		p.moves.take(t.config.Rebalance, now)
}

// leaving reports whether u is being emptied.
func (u *Upstream) leaving() bool {
	return u.Admin() == AdminDrain || u.spec.Load().Retiring
}

// Over says that the application has ended the session of a choice: its visitor has
// logged out. It reports whether the visitor had better begin anew elsewhere, because
// the upstream is being emptied or has more than its share: then the session is
// forgotten, and the cookie is to be taken back.
// app is the hash of the application's token in the request, 0 without one.
func (p *Pool) Over(c *Choice, app uint64, now int64) bool {
	if c.Session == 0 || c.Upstream == nil || !p.wantsAway(p.now.Load(), c.Upstream, now) {
		return false
	}
	c.Issue = false
	p.b.sessions.Remove(c.Session)
	if app != 0 {
		p.learned(app) // under the key that signs, from here on
		p.b.sessions.Remove(p.aliasNow(app))
	}
	p.Shifted.Add(1)
	return true
}
