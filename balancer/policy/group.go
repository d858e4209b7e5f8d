package policy

import (
	"slices"
	"sync/atomic"
)

// Candidate is one of those among whom a policy chooses.
type Candidate[U comparable] struct {
	Up     U
	Load   *Load
	Weight uint32 // in hundredths, at least 1
	Hash   uint64 // of its id, for the hash policies
}

// Group is a set of candidates, with what the policies need worked out beforehand. It is
// immutable and made anew when a state or weight changes.
type Group[U comparable] struct {
	up        []Candidate[U]
	sum       []uint64 // running sums of weight
	schedule  []uint16 // smooth weighted round robin, as indices of up
	turn      *atomic.Uint64
	policy    Policy
	bound     int
	even      bool // all weights are the same
	unlimited bool // no candidate has MaxConns or MaxSessions
}

// NewGroup works out a group. Bound is how much load, in percent of its fair share, Hash gives a candidate
// at most; up to 100: as much as comes. Turn counts for RoundRobin.
func NewGroup[U comparable](up []Candidate[U], p Policy, bound int, turn *atomic.Uint64) *Group[U] {
	g := &Group[U]{up: up, turn: turn, policy: p, bound: bound, even: true, unlimited: true}
	weights := make([]uint32, len(up))
	var total uint64
	for i, u := range up {
		weights[i] = u.Weight
		total += uint64(u.Weight)
		g.sum = append(g.sum, total)
		g.even = g.even && u.Weight == up[0].Weight
		g.unlimited = g.unlimited && u.Load.MaxConns.Load() <= 0 && u.Load.MaxSessions.Load() <= 0
	}
	if p == RoundRobin || p == Hash {
		g.schedule = schedule(weights)
	}
	return g
}

// Len returns how many candidates there are.
func (g *Group[U]) Len() int { return len(g.up) }

// Only returns the first candidate. There must be one.
func (g *Group[U]) Only() U { return g.up[0].Up }

// Unlimited reports whether no candidate has a ceiling, neither of requests nor of sessions.
func (g *Group[U]) Unlimited() bool { return g.unlimited }

// Query is one question to a policy.
type Query[U comparable] struct {
	Hash    uint64 // what the policy Hash goes by
	Random  uint64
	Exclude []U
	Not     U    // one more that is excluded
	Seats   bool // the ceiling of sessions counts
	Free    bool // only candidates with room for one more request
}

// fits reports whether c may be the answer. The common case is written apart so that it is no call.
func (g *Group[U]) fits(q *Query[U], c *Candidate[U]) bool {
	return c.Up != q.Not && (g.unlimited && len(q.Exclude) == 0 || c.passes(q))
}

func (c *Candidate[U]) passes(q *Query[U]) bool {
	return !slices.Contains(q.Exclude, c.Up) && (!q.Seats || !c.Load.full()) && (!q.Free || !c.Load.busy())
}

// Has reports whether u is a candidate and passes q.
func (g *Group[U]) Has(q *Query[U], u U) bool {
	i := slices.IndexFunc(g.up, func(c Candidate[U]) bool { return c.Up == u })
	return i >= 0 && g.fits(q, &g.up[i])
}

// Any reports whether any candidate passes q, which tells a full group from one whose candidates
// were all tried.
func (g *Group[U]) Any(q *Query[U]) bool {
	for i := range g.up {
		if g.fits(q, &g.up[i]) {
			return true
		}
	}
	return false
}

// Sessions returns the live sessions of all candidates.
func (g *Group[U]) Sessions() int64 {
	var n int64
	for i := range g.up {
		n += g.up[i].Load.Seats.Live()
	}
	return n
}

// FreeSeats returns how many sessions the candidates may still take; 1<<40: there is no ceiling.
func (g *Group[U]) FreeSeats() int64 {
	var n int64
	for i := range g.up {
		most := g.up[i].Load.MaxSessions.Load()
		if most <= 0 {
			return 1 << 40
		}
		n += max(most-g.up[i].Load.Seats.Taken(), 0)
	}
	return n
}
