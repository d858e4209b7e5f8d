package balancer

import (
	"fmt"
	"slices"
	"strings"
)

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

// policy places a visitor: it returns one upstream of the group that passes the
// query, or nil if none does. The group is not empty.
type policy func(g *group, q query) *Upstream

// policies in the order in which they are offered to people.
var policies = []struct {
	name string
	pick policy
}{
	{LeastSessions, leastSessions},
	{RoundRobin, roundRobin},
	{LeastConnections, leastConnections},
	{Random, twoChoices},
	{Source, byHash},
	{Header, byHash},
	{URI, byHash},
	{First, first},
}

// Policies lists the names that Config.Policy may have, the default first.
func Policies() []string {
	names := make([]string, len(policies))
	for i, p := range policies {
		names[i] = p.name
	}
	return names
}

func isHash(name string) bool { return name == Source || name == Header || name == URI }

func newPolicy(name string) (policy, error) {
	for _, p := range policies {
		if p.name == name {
			return p.pick, nil
		}
	}
	return nil, fmt.Errorf("unknown policy %q: did you mean %q? One of %s", name, nearest(name), strings.Join(Policies(), ", "))
}

// aliases are what other programs call the policies.
var aliases = map[string]string{
	"roundrobin": RoundRobin, "rr": RoundRobin, "static-rr": RoundRobin, "wrr": RoundRobin,
	"leastconn": LeastConnections, "least_conn": LeastConnections, "least_connections": LeastConnections,
	"p2c": Random, "power_of_two_choices": Random,
	"ip_hash": Source, "source_hash": Source, "hdr": Header, "uri_hash": URI,
}

// nearest returns the policy whose name takes the fewest edits from name.
func nearest(name string) string {
	name = strings.ToLower(name)
	if a, ok := aliases[name]; ok {
		return a
	}
	return slices.MinFunc(Policies(), func(a, b string) int { return distance(name, a) - distance(name, b) })
}

// distance is the edit distance of two short names.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
