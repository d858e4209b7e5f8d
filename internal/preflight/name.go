package preflight

import (
	"fmt"

	"portico/certs"
	"portico/membership"
	"portico/membership/catalog"
)

// OwnName is the name of the member whose state lies in dir. What was accepted once keeps its name,
// also where the machine has got another one since; it is neither another member's nor of the
// other role, whose record in the cluster it would write over.
func OwnName(id *certs.Identity, role catalog.Role, name, dir string) (string, error) {
	peer, accepted := id.Peer()
	switch {
	case !accepted && name == "":
		return membership.DefaultName(), nil
	case !accepted:
		return name, nil
	case peer.Role != role:
		return "", fmt.Errorf("%s is the folder of %s %q: give another --dir", dir, peer.Role, peer.Name)
	case name != "" && name != peer.Name:
		return "", fmt.Errorf("%s is the folder of member %q, and this one is to be called %q: start it with that name, or give another --dir", dir, peer.Name, name)
	}
	return peer.Name, nil
}
