package policy

// first takes the first candidate, in the order of the pool, that has room: the
// fewest machines do the work. It needs limits to be of use.
func (g *Group[U]) first(q *Query[U]) U {
	for i := range g.up {
		if g.fits(q, &g.up[i]) {
			return g.up[i].Up
		}
	}
	var none U
	return none
}
