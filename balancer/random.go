package balancer

import (
	"math/bits"
	"sort"

	"portico/balancer/sessions"
)

// twoChoices draws two upstreams by weight and takes the one with fewer requests
// in flight for its weight. It keeps loads nearly as even as least-connections does,
// without several proxies running to the same idle upstream.
func twoChoices(g *group, q query) *Upstream {
	i := g.draw(q.random)
	j := g.draw(sessions.Mix(q.random + 1))
	if i == j {
		j = (i + 1) % len(g.up)
	}
	a, b := g.up[i], g.up[j]
	switch okA, okB := q.ok(g, a), q.ok(g, b); {
	case okA && okB:
		if g.compare(j, i, b.inflight.Load(), a.inflight.Load()) < 0 {
			return b
		}
		return a
	case okA:
		return a
	case okB:
		return b
	}
	return leastConnections(g, q)
}

// draw returns an index with a probability that follows the weights.
func (g *group) draw(random uint64) int {
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
