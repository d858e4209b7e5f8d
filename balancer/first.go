package balancer

// first takes the first upstream, in the order of the pool, that has room: the
// fewest machines do the work. It needs limits to be of use.
func first(g *group, q query) *Upstream {
	for _, u := range g.up {
		if q.ok(g, u) {
			return u
		}
	}
	return nil
}
