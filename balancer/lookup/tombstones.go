package lookup

import (
	"time"

	"portico/balancer/seal"
)

// Tombstones remembers the instances that have left a pool, and what that
// means for the visitors who come back for them. It is immutable; the zero value remembers nobody.
type Tombstones[V any] struct {
	list    []Tombstone[V]
	byToken map[seal.Token]int // index in list
}

// Tombstone is an instance that has left.
type Tombstone[V any] struct {
	ID     string
	Tokens [2]seal.Token
	Means  V // for its visitors

	until int64 // Unix milliseconds: no cookie can be alive any more
}

// life is how long an instance is remembered at least, in milliseconds. Its cookies end sooner, unless a proxy that is cut
// off from the catalog goes on to issue them.
const life = 24 * 3600 * 1000

// most bounds the memory for instances gone: the oldest are forgotten, and
// their visitors told "unknown".
const most = 4096

// With returns g plus the instances that are leaving at now. idle is for how long a session lives without a request.
func (g *Tombstones[V]) With(left []Tombstone[V], idle time.Duration, now int64) *Tombstones[V] {
	n := &Tombstones[V]{}
	for _, x := range g.list {
		if x.until > now {
			n.list = append(n.list, x)
		}
	}
	for _, x := range left {
		x.until = now + max(2*1000*seal.Grace(idle), life)
		n.list = append(n.list, x)
	}
	n.list = n.list[max(len(n.list)-most, 0):]
	n.index()
	return n
}

// Rename returns g with the tokens of other keys.
func (g *Tombstones[V]) Rename(s *seal.Sealer) *Tombstones[V] {
	n := &Tombstones[V]{list: append([]Tombstone[V](nil), g.list...)}
	for i := range n.list {
		n.list[i].Tokens = s.Tokens(n.list[i].ID)
	}
	n.index()
	return n
}

func (g *Tombstones[V]) index() {
	g.byToken = make(map[seal.Token]int, 2*len(g.list))
	for i, x := range g.list {
		for _, t := range x.Tokens {
			g.byToken[t] = i
		}
	}
}

// Find returns what it means that the instance of a token is gone, if it is remembered.
func (g *Tombstones[V]) Find(t seal.Token) (means V, ok bool) {
	if i, ok := g.byToken[t]; ok {
		return g.list[i].Means, true
	}
	return means, false
}
