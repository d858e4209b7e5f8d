package policy

import (
	"math"

	"portico/balancer/sessions"
)

// maxLoad as a total load means that none is at its bound.
const maxLoad = math.MaxInt64

// byHash always takes the same upstream for the same hash, as long as that
// upstream is there: source, header and uri differ in what their caller hashes.
// It is weighted rendezvous hashing: an upstream that joins or leaves moves
// only its own share, and all proxies agree without talking. Without a hash
// (the header is missing) it goes round robin, as HAProxy does.
func (g *Group[U]) byHash(q *Query[U]) U {
	if q.Hash == 0 {
		return g.roundRobin(q)
	}
	if g.bound <= 100 {
		return g.rendezvous(q, maxLoad)
	}
	// Bounded load (Mirrokni, Thorup, Zadimoghaddam 2016): nobody gets more
	// than bound percent of its fair share, what is too much goes to the next in the
	// order of this hash.
	var load int64
	for i := range g.up {
		load += g.up[i].Load.InFlight.Load()
	}
	var none U
	if u := g.rendezvous(q, load+1); u != none {
		return u
	}
	return g.rendezvous(q, maxLoad)
}

// Rendezvous returns the candidate of q.Hash, whatever load it has.
func (g *Group[U]) Rendezvous(q *Query[U]) U { return g.rendezvous(q, maxLoad) }

// rendezvous returns the upstream with the highest score for the hash. With a
// total load below maxLoad, upstreams at their bound of it are passed over.
func (g *Group[U]) rendezvous(q *Query[U], total int64) U {
	var best, none U
	top := math.Inf(-1)
	for i := range g.up {
		u := &g.up[i]
		if !g.fits(q, u) || total != maxLoad && u.Load.InFlight.Load() >= g.share(i, total) {
			continue
		}
		x, w := spread(u.Hash, q.Hash), float64(u.Weight)
		// The logarithm takes longer than all else here. With even weights x says the
		// same; else, -ln(x) being at least 1-x, most cannot win and need none.
		s := x
		if !g.even {
			if best != none && w <= top*(1-x) {
				continue
			}
			s = -w / math.Log(x)
		}
		if s > top {
			best, top = u.Up, s
		}
	}
	return best
}

// share returns the most load that upstream i may have of the total.
func (g *Group[U]) share(i int, total int64) int64 {
	sum := float64(g.sum[len(g.sum)-1])
	return int64(math.Ceil(float64(total) * float64(g.up[i].Weight) / sum * float64(g.bound) / 100))
}

// spread returns an x in (0,1) that depends on an upstream and a hash. The rendezvous
// score -weight/ln(x) makes shares follow weights exactly.
func spread(id, hash uint64) float64 {
	return (float64(sessions.Mix(id^hash)>>11) + 0.5) / (1 << 53)
}
