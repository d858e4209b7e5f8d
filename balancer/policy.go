package balancer

import "fmt"

// The policies, named as in HAProxy.
const (
	RoundRobin       = "round-robin"
	LeastConnections = "least-connections"
	LeastSessions    = "least-sessions"
	Random           = "random"
	Source           = "source"
	Header           = "header"
	URI              = "uri"
	First            = "first"
)

// Policies lists the names that Config.Policy may have.
func Policies() []string {
	return []string{RoundRobin, LeastConnections, LeastSessions, Random, Source, Header, URI, First}
}

// policy places a visitor on one of the upstreams given to prepare.
type policy interface {
	prepare(ready []*Upstream)
	pick(from []*Upstream, r *Request, random uint64) *Upstream
}

func newPolicy(name string) (policy, error) {
	for _, n := range Policies() {
		if n == name {
			return &leastSessions{}, nil
		}
	}
	return nil, fmt.Errorf("unknown policy %q: use one of %v", name, Policies())
}

type leastSessions struct{}

func (l *leastSessions) prepare([]*Upstream) {}

func (l *leastSessions) pick(from []*Upstream, r *Request, random uint64) *Upstream {
	var best *Upstream
	var least int64
	start := int(random % uint64(len(from)))
	for i := range from {
		u := from[(start+i)%len(from)]
		if excluded(r.Exclude, u) {
			continue
		}
		if n := u.sessions.Load(); best == nil || n < least {
			best, least = u, n
		}
	}
	return best
}
