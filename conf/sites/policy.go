package sites

import "strings"

// Policy says how new sessions are placed.
type Policy string

// The policies, named as in HAProxy.
const (
	PolicyLeastSessions    Policy = "least-sessions" // the default: sessions live in memory, so they are what fills a server
	PolicyRoundRobin       Policy = "round-robin"
	PolicyLeastConnections Policy = "least-connections"
	PolicyRandom           Policy = "random"
	PolicySource           Policy = "source"
	PolicyHeader           Policy = "header"
	PolicyURI              Policy = "uri"
	PolicyFirst            Policy = "first"
)

// Policies are all of them, the default first.
func Policies() []Policy {
	return []Policy{PolicyLeastSessions, PolicyRoundRobin, PolicyLeastConnections, PolicyRandom, PolicySource, PolicyHeader, PolicyURI, PolicyFirst}
}

// Hashes reports whether the policy goes by a hash of something in the request.
func (p Policy) Hashes() bool { return p == PolicySource || p == PolicyHeader || p == PolicyURI }

// Remedy says of a policy that is none of ours what to write instead; it is to be read behind the name.
func (p Policy) Remedy() string {
	name := strings.ToLower(string(p))
	if ours, ok := policyElsewhere[name]; ok {
		name = string(ours)
	}
	return remedy(name, Policies())
}

// policyElsewhere is what other programs call the policies.
var policyElsewhere = map[string]Policy{
	"roundrobin": PolicyRoundRobin, "rr": PolicyRoundRobin, "static-rr": PolicyRoundRobin, "wrr": PolicyRoundRobin,
	"leastconn": PolicyLeastConnections, "least_conn": PolicyLeastConnections, "least_connections": PolicyLeastConnections,
	"p2c": PolicyRandom, "power_of_two_choices": PolicyRandom,
	"ip_hash": PolicySource, "source_hash": PolicySource, "hdr": PolicyHeader, "uri_hash": PolicyURI,
}
