package balancer

import (
	"fmt"

	"portico/conf/sites"
)

// policy places a visitor: it returns one upstream of the group that passes the
// query, or nil if none does. The group is not empty.
type policy func(g *group, q query) *Upstream

func newPolicy(name sites.Policy) (policy, error) {
	switch name {
	case sites.PolicyLeastSessions:
		return leastSessions, nil
	case sites.PolicyRoundRobin:
		return roundRobin, nil
	case sites.PolicyLeastConnections:
		return leastConnections, nil
	case sites.PolicyRandom:
		return twoChoices, nil
	case sites.PolicySource, sites.PolicyHeader, sites.PolicyURI:
		return byHash, nil
	case sites.PolicyFirst:
		return first, nil
	}
	return nil, fmt.Errorf("policy %q %s", name, name.Remedy())
}
