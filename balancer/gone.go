package balancer

// graveyard remembers the tokens of instances that have left the pool, and what
// that means for the visitors who come back for them. It is immutable.
type graveyard struct {
	byToken map[Token]grave
}

type grave struct {
	cause Cause
	name  string
	until int64 // Unix milliseconds: no cookie can be alive any more
}

// maxGraves bounds the memory for instances gone.
const maxGraves = 4096

// with returns g plus the upstreams that are leaving at now.
func (g *graveyard) with(left []*Upstream, now int64, c Config) *graveyard {
	n := &graveyard{byToken: make(map[Token]grave, len(g.byToken)+2*len(left))}
	for t, x := range g.byToken {
		if x.until > now && len(n.byToken) < maxGraves {
			n.byToken[t] = x
		}
	}
	for _, u := range left {
		x := grave{cause: u.endCause(), name: u.spec.Load().Name, until: now + 2*c.Idle.Milliseconds()}
		for _, t := range u.tokens.Load() {
			n.byToken[t] = x
		}
	}
	return n
}

// cause returns why the instance with this token is gone, and its name.
func (g *graveyard) cause(t Token) (Cause, string) {
	if x, ok := g.byToken[t]; ok {
		return x.cause, x.name
	}
	return CauseUnknown, ""
}

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
