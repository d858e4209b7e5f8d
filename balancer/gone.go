package balancer

import "portico/balancer/seal"

// graveyard remembers the instances that have left the pool, and what that
// means for the visitors who come back for them. It is immutable.
type graveyard struct {
	graves  []grave
	byToken map[seal.Token]int // index in graves
}

type grave struct {
	id, name string
	cause    Cause
	free     bool // it kept no state
	tokens   [2]seal.Token
	until    int64 // Unix milliseconds: no cookie can be alive any more
}

// mourning is for how long an instance is remembered at least, in milliseconds. Its cookies end sooner, but for
// those that a proxy goes on to issue because it is cut off from the catalog and has not heard.
const mourning = 24 * 3600 * 1000

// maxGraves bounds the memory for instances gone: the oldest are forgotten, and
// their visitors told "unknown".
const maxGraves = 4096

// with returns g plus the upstreams that are leaving at now.
func (g *graveyard) with(left []*Upstream, now int64, c Config) *graveyard {
	n := &graveyard{}
	for _, x := range g.graves {
		if x.until > now {
			n.graves = append(n.graves, x)
		}
	}
	for _, u := range left {
		s := u.spec.Load()
		n.graves = append(n.graves, grave{
			id: u.id, name: s.Name, cause: u.endCause(), free: s.Unpinned,
			tokens: *u.tokens.Load(), until: now + max(2*1000*seal.Grace(c.Idle), mourning),
		})
	}
	n.graves = n.graves[max(len(n.graves)-maxGraves, 0):]
	n.index()
	return n
}

// rename returns g with the tokens of other keys.
func (g *graveyard) rename(s *seal.Sealer) *graveyard {
	n := &graveyard{graves: append([]grave(nil), g.graves...)}
	for i := range n.graves {
		n.graves[i].tokens = s.Tokens(n.graves[i].id)
	}
	n.index()
	return n
}

func (g *graveyard) index() {
	g.byToken = make(map[seal.Token]int, 2*len(g.graves))
	for i, x := range g.graves {
		for _, t := range x.tokens {
			g.byToken[t] = i
		}
	}
}

// find returns what is known of the instance with a token that is gone.
func (g *graveyard) find(t seal.Token) grave {
	if i, ok := g.byToken[t]; ok {
		return g.graves[i]
	}
	return grave{cause: CauseUnknown}
}

// endCause returns what it means for a visitor that u is not in the pool.
func (u *Upstream) endCause() Cause {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.end != CauseNone:
		return u.end
	case u.health.State == Down && u.health.Cause != CauseNone:
		return u.health.Cause
	case u.Admin() == AdminMaint:
		return CauseOperator
	case u.spec.Load().Retiring:
		return CauseDeadline
	}
	return CauseExited
}

// maintCause returns what it means for a visitor that u takes nothing.
func (u *Upstream) maintCause() Cause {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.end != CauseNone {
		return u.end
	}
	return CauseOperator
}
