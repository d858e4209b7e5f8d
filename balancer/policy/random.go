package policy

import (
	"math/bits"
	"sort"

	"portico/balancer/sessions"
)

// twoChoices draws two upstreams by weight and takes the one with fewer requests
// in flight for its weight. It keeps loads nearly as even as least-connections does,
// without several proxies running to the same idle upstream.
func (g *Group[U]) twoChoices(q *Query[U]) U {
	i := g.draw(q.Random)
	j := g.draw(sessions.Mix(q.Random + 1))
	if i == j {
		j = (i + 1) % len(g.up)
	}
	a, b := &g.up[i], &g.up[j]
	switch okA, okB := g.fits(q, a), g.fits(q, b); {
	case okA && okB:
		if g.compare(j, i, b.Load.InFlight.Load(), a.Load.InFlight.Load()) < 0 {
			return b.Up
		}
		return a.Up
	case okA:
		return a.Up
	case okB:
		return b.Up
	}
	return g.leastConnections(q)
}

// draw returns an index with a probability that follows the weights.
func (g *Group[U]) draw(random uint64) int {
	x, _ := bits.Mul64(random, g.sum[len(g.sum)-1])
	if len(g.sum) <= 16 {
		for i, s := range g.sum {
			if x < s {
				return i
			}
		}
	}
	return sort.Search(len(g.sum), func(i int) bool { return x < g.sum[i] })
}
