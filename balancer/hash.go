package balancer

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
func byHash(g *group, q query) *Upstream {
	if q.hash == 0 {
		return roundRobin(g, q)
	}
	if g.bound <= 100 {
		return g.rendezvous(q, maxLoad)
	}
	// Bounded load (Mirrokni, Thorup, Zadimoghaddam 2016): nobody gets more
	// than bound percent of its fair share, what is too much goes to the next in the
	// order of this hash.
	var load int64
	for _, u := range g.up {
		load += u.inflight.Load()
	}
	if u := g.rendezvous(q, load+1); u != nil {
		return u
	}
	return g.rendezvous(q, maxLoad)
}

// rendezvous returns the upstream with the highest score for the hash. With a
// total load below maxLoad, upstreams at their bound of it are passed over.
func (g *group) rendezvous(q query, total int64) *Upstream {
	var best *Upstream
	top := math.Inf(-1)
	for i, u := range g.up {
		if !q.ok(g, u) || total != maxLoad && u.inflight.Load() >= g.share(i, total) {
			continue
		}
		x, w := spread(g.hash[i], q.hash), float64(g.weight[i])
		// The logarithm takes longer than all else here. With even weights x says the
		// same; else, -ln(x) being at least 1-x, most cannot win and need none.
		s := x
		if !g.even {
			if best != nil && w <= top*(1-x) {
				continue
			}
			s = -w / math.Log(x)
		}
		if s > top {
			best, top = u, s
		}
	}
	return best
}

// share returns the most load that upstream i may have of the total.
func (g *group) share(i int, total int64) int64 {
	sum := float64(g.sum[len(g.sum)-1])
	return int64(math.Ceil(float64(total) * float64(g.weight[i]) / sum * float64(g.bound) / 100))
}

// spread returns an x in (0,1) that depends on an upstream and a hash. The rendezvous
// score -weight/ln(x) makes shares follow weights exactly.
func spread(id, hash uint64) float64 {
	return (float64(sessions.Mix(id^hash)>>11) + 0.5) / (1 << 53)
}
