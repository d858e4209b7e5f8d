package balancer

import (
	"slices"
	"sync/atomic"
	"time"

	"portico/conf/sites"
)

// group is a set of upstreams that a policy chooses among, with what the policies
// need worked out beforehand. It is immutable and made anew when a state or
// weight changes.
type group struct {
	up       []*Upstream
	weight   []uint32 // effective, in hundredths; never 0
	hash     []uint64 // of the id, for the hash policies
	sum      []uint64 // running sums of weight
	schedule []uint16 // smooth weighted round robin, as indices of up
	turn     *atomic.Uint64
	even     bool // all weights are the same
	limited  bool // some upstream has MaxConns or MaxSessions
	bound    int  // Config.HashBound
}

// newGroup works out a group of the given upstreams at now.
func newGroup(up []*Upstream, c *Config, turn *atomic.Uint64, now int64) *group {
	g := &group{up: up, turn: turn, bound: c.HashBound}
	var total uint64
	for _, u := range up {
		w := max(u.effective(c.SlowStart, now), 1)
		u.weight.Store(w)
		total += uint64(w)
		g.weight = append(g.weight, w)
		g.sum = append(g.sum, total)
		g.hash = append(g.hash, u.idHash)
		if s := u.spec.Load(); s.MaxConns > 0 || s.MaxSessions > 0 {
			g.limited = true
		}
	}
	g.even = len(up) == 0 || slices.Min(g.weight) == slices.Max(g.weight)
	if c.Policy == sites.PolicyRoundRobin || c.Policy.Hashes() {
		g.schedule = schedule(g.weight)
	}
	return g
}

// effective returns the weight in hundredths: after coming up it grows with time
// from a tenth of the configured weight to all of it.
func (u *Upstream) effective(ramp time.Duration, now int64) uint32 {
	full := uint32(u.spec.Load().Weight) * 100
	u.mu.Lock()
	since, state := u.health.Since, u.health.State
	u.mu.Unlock()
	if state != Up || ramp <= 0 {
		return full
	}
	passed := max(now-since, 0)
	if passed >= ramp.Milliseconds() {
		return full
	}
	return full/10 + uint32(uint64(full-full/10)*uint64(passed)/uint64(ramp.Milliseconds()))
}

// query is one question to a policy.
type query struct {
	hash    uint64
	random  uint64
	exclude []*Upstream
	not     *Upstream // one more that is excluded
	seats   bool      // the ceiling of sessions counts
	free    bool      // only upstreams with room for one more request
}

// ok reports whether u may be the answer.
func (q *query) ok(g *group, u *Upstream) bool {
	if u == q.not || len(q.exclude) > 0 && excluded(q.exclude, u) {
		return false
	}
	if !g.limited {
		return true
	}
	if q.seats {
		if most := u.maxSessions.Load(); most > 0 && u.seats.Taken() >= most {
			return false
		}
	}
	if q.free {
		if most := u.maxConns.Load(); most > 0 && u.inflight.Load() >= most {
			return false
		}
	}
	return true
}

// any reports whether any upstream of g passes q, which tells a full pool from
// one whose upstreams were all tried.
func (g *group) any(q *query) bool {
	for _, u := range g.up {
		if q.ok(g, u) {
			return true
		}
	}
	return false
}

// sessions returns the live sessions of all upstreams of g.
func (g *group) sessions() int64 {
	var n int64
	for _, u := range g.up {
		n += u.seats.Live()
	}
	return n
}
