package balancer

// leastSessions takes the upstream with the fewest live sessions for its weight,
// idle ones included, because memory and licences do not know who is idle. Equals
// are told apart by requests in flight, then by chance.
func leastSessions(g *group, q query) *Upstream {
	return g.least(q, func(u *Upstream) (int64, int64) { return u.seats.Live(), u.inflight.Load() })
}

// leastConnections takes the upstream with the fewest requests in flight for its
// weight. Equals are told apart by live sessions, then by chance.
func leastConnections(g *group, q query) *Upstream {
	return g.least(q, func(u *Upstream) (int64, int64) { return u.inflight.Load(), u.seats.Live() })
}

// least returns the upstream with the least load for its weight. The look starts
// at a random place and equals never displace, so that chance decides among them.
func (g *group) least(q query, load func(*Upstream) (first, second int64)) *Upstream {
	best := -1
	var first, second int64
	i := int(q.random % uint64(len(g.up)))
	for range g.up {
		if u := g.up[i]; q.ok(g, u) {
			a, b := load(u)
			if best < 0 {
				best, first, second = i, a, b
			} else if c := g.compare(i, best, a, first); c < 0 || c == 0 && g.compare(i, best, b, second) < 0 {
				best, first, second = i, a, b
			}
		}
		if i++; i == len(g.up) {
			i = 0
		}
	}
	if best < 0 {
		return nil
	}
	return g.up[best]
}

// compare compares the loads a of upstream i and b of upstream j after one more
// visitor, each for its weight.
func (g *group) compare(i, j int, a, b int64) int64 {
	return (a+1)*int64(g.weight[j]) - (b+1)*int64(g.weight[i])
}
