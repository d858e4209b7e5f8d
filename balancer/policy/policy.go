// Package policy chooses who gets a visitor, among those who may: a file per policy, named as in
// HAProxy. Of each candidate it sees the weight, the requests in flight and the seats. It does not
// know who is healthy, whose session is where, or what a request is: the balancer works out who may.
// A choice changes nothing but the turn of round robin, and allocates nothing.
package policy

import (
	"fmt"

	"portico/conf/sites"
)

// Policy is one of the ways to choose.
type Policy uint8

// The policies, see sites.Policy.
const (
	LeastSessions Policy = iota
	RoundRobin
	LeastConnections
	Random
	Hash
	First
)

// Named returns the policy of a name.
func Named(name sites.Policy) (Policy, error) {
	switch name {
	case sites.PolicyLeastSessions:
		return LeastSessions, nil
	case sites.PolicyRoundRobin:
		return RoundRobin, nil
	case sites.PolicyLeastConnections:
		return LeastConnections, nil
	case sites.PolicyRandom:
		return Random, nil
	case sites.PolicySource, sites.PolicyHeader, sites.PolicyURI:
		return Hash, nil
	case sites.PolicyFirst:
		return First, nil
	}
	return 0, fmt.Errorf("policy %q %s", name, name.Remedy())
}

// Choose returns one candidate of the group that passes the query, or none if none does.
func (g *Group[U]) Choose(q *Query[U]) U {
	switch g.policy {
	case RoundRobin:
		return g.roundRobin(q)
	case LeastConnections:
		return g.leastConnections(q)
	case Random:
		return g.twoChoices(q)
	case Hash:
		return g.byHash(q)
	case First:
		return g.first(q)
	}
	return g.leastSessions(q)
}
