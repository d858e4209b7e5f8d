package client

import (
	"fmt"
	"strings"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// partsOf are the parts that the proxies have in the shared catalog.
func partsOf(members []api.MemberInfo) []catalog.Replica {
	var parts []catalog.Replica
	for _, m := range members {
		if m.Catalog != nil {
			parts = append(parts, *m.Catalog)
		}
	}
	return parts
}

// catalogPart is a proxy's part in a few words.
func catalogPart(r *catalog.Replica) string {
	switch {
	case r == nil:
		return "-"
	case !r.Reachable:
		return string(r.Role) + ", unreachable"
	case !r.Ready:
		return string(r.Role) + ", not ready"
	case r.Behind > 0:
		return fmt.Sprintf("%s, %d behind", r.Role, r.Behind)
	}
	return string(r.Role)
}

// catalogNote says what these proxies can do without.
func catalogNote(parts []catalog.Replica) string {
	var voters, copies []string
	there, led := 0, false
	for _, r := range parts {
		if r.Role == catalog.ReplicaLearner {
			copies = append(copies, r.Name)
			continue
		}
		voters = append(voters, r.Name)
		led = led || r.Role == catalog.ReplicaLeader
		if r.Reachable && r.Ready {
			there++
		}
	}
	need := len(voters)/2 + 1
	note := fmt.Sprintf("%d proxies have the catalog; a change needs %d of %s.", len(parts), need, strings.Join(voters, ", "))
	switch {
	case !led && len(voters) == 1:
		note = fmt.Sprintf("Changes wait for %s, which decides alone. Traffic goes on.", voters[0])
	case !led:
		note = fmt.Sprintf("The catalog has no majority: changes wait until %d of these answer: %s. Traffic goes on.", need, strings.Join(voters, ", "))
	case len(voters) == 1:
		note = fmt.Sprintf("%s decides alone, %s keeps a copy: without %[1]s changes wait (traffic goes on). With three proxies any one of them may be away.",
			voters[0], strings.Join(copies, ", "))
	case len(voters)%2 == 0:
		note += fmt.Sprintf(" Without one of them changes wait: add a proxy, %d is a better number.", len(voters)+1)
	case there == need:
		note += " Without another one changes wait."
	}
	return note
}
