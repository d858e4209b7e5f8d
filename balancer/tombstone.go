package balancer

import "portico/balancer/seal"

// tombstones remembers the instances that have left the pool, and what that
// means for the visitors who come back for them. It is immutable.
type tombstones struct {
	list    []tombstone
	byToken map[seal.Token]int // index in list
}

type tombstone struct {
	id, name string
	cause    Cause
	free     bool // it kept no state
	tokens   [2]seal.Token
	until    int64 // Unix milliseconds: no cookie can be alive any more
}

// tombstoneLife is how long an instance is remembered at least, in milliseconds. Its cookies end sooner, unless a proxy that is cut
// off from the catalog goes on to issue them.
const tombstoneLife = 24 * 3600 * 1000

// maxTombstones bounds the memory for instances gone: the oldest are forgotten, and
// their visitors told "unknown".
const maxTombstones = 4096

// with returns g plus the upstreams that are leaving at now.
func (g *tombstones) with(left []*Upstream, now int64, c Config) *tombstones {
	n := &tombstones{}
	for _, x := range g.list {
		if x.until > now {
			n.list = append(n.list, x)
		}
	}
	for _, u := range left {
		s := u.spec.Load()
		n.list = append(n.list, tombstone{
			id: u.id, name: s.Name, cause: u.endCause(), free: s.Unpinned,
			tokens: *u.tokens.Load(), until: now + max(2*1000*seal.Grace(c.Idle), tombstoneLife),
		})
	}
	n.list = n.list[max(len(n.list)-maxTombstones, 0):]
	n.index()
	return n
}

// rename returns g with the tokens of other keys.
func (g *tombstones) rename(s *seal.Sealer) *tombstones {
	n := &tombstones{list: append([]tombstone(nil), g.list...)}
	for i := range n.list {
		n.list[i].tokens = s.Tokens(n.list[i].id)
	}
	n.index()
	return n
}

func (g *tombstones) index() {
	g.byToken = make(map[seal.Token]int, 2*len(g.list))
	for i, x := range g.list {
		for _, t := range x.tokens {
			g.byToken[t] = i
		}
	}
}

// find returns what is known of the instance with a token that is gone.
func (g *tombstones) find(t seal.Token) tombstone {
	if i, ok := g.byToken[t]; ok {
		return g.list[i]
	}
	return tombstone{cause: CauseUnknown}
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
