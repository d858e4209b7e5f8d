package policy

// leastSessions takes the upstream with the fewest live sessions for its weight,
// idle ones included, because memory and licences do not know who is idle. Equals
// are told apart by requests in flight, then by chance.
func (g *Group[U]) leastSessions(q *Query[U]) U {
	return g.least(q, func(l *Load) (int64, int64) { return l.Seats.Live(), l.InFlight.Load() })
}

// leastConnections takes the upstream with the fewest requests in flight for its
// weight. Equals are told apart by live sessions, then by chance.
func (g *Group[U]) leastConnections(q *Query[U]) U {
	return g.least(q, func(l *Load) (int64, int64) { return l.InFlight.Load(), l.Seats.Live() })
}

// least returns the upstream with the least load for its weight. The look starts
// at a random place and equals never displace, so that chance decides among them.
func (g *Group[U]) least(q *Query[U], load func(*Load) (first, second int64)) U {
	best := -1
	var first, second int64
	i := int(q.Random % uint64(len(g.up)))
	for range g.up {
		if g.fits(q, &g.up[i]) {
			a, b := load(g.up[i].Load)
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
		var none U
		return none
	}
	return g.up[best].Up
}

// compare compares the loads a of upstream i and b of upstream j after one more
// visitor, each for its weight.
func (g *Group[U]) compare(i, j int, a, b int64) int64 {
	return (a+1)*int64(g.up[j].Weight) - (b+1)*int64(g.up[i].Weight)
}
