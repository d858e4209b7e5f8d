package membership

import (
	"cmp"
	"net"
	"slices"
	"strconv"

	"github.com/hashicorp/serf/serf"

	"portico/membership/catalog"
)

// Status is what gossip believes of a member.
type Status string

// The states of a member in gossip. All of them are hints.
const (
	StatusAlive   Status = "alive"
	StatusLeaving Status = "leaving" // said goodbye, still answers
	StatusLeft    Status = "left"    // said goodbye and is gone
	StatusFailed  Status = "failed"  // does not answer any more
)

// Node is a member as gossip sees it. Name, role and the rest are what the
// member says of itself; only the catalog knows whether it is true.
type Node struct {
	Name        string
	Role        catalog.Role
	ID          string
	Fingerprint string // SHA-256 of the member's public key, hexadecimal
	Version     string
	Addr        string // host:port of its gossip
	Status      Status
}

// The tags that a member carries. Serf allows 512 bytes for all of them
// together; these take about 150.
const (
	tagRole        = "r"
	tagID          = "i"
	tagFingerprint = "f"
	tagVersion     = "v"
)

func tagsOf(o Options) map[string]string {
	return map[string]string{
		tagRole:        string(o.Role),
		tagID:          o.ID,
		tagFingerprint: o.Fingerprint,
		tagVersion:     o.Version,
	}
}

func nodeOf(m serf.Member) Node {
	n := Node{
		Name:        m.Name,
		Role:        catalog.Role(m.Tags[tagRole]),
		ID:          m.Tags[tagID],
		Fingerprint: m.Tags[tagFingerprint],
		Version:     m.Tags[tagVersion],
		Addr:        net.JoinHostPort(m.Addr.String(), strconv.Itoa(int(m.Port))),
	}
	switch m.Status {
	case serf.StatusAlive:
		n.Status = StatusAlive
	case serf.StatusLeaving:
		n.Status = StatusLeaving
	case serf.StatusLeft:
		n.Status = StatusLeft
	default:
		n.Status = StatusFailed
	}
	return n
}

func sortNodes(nodes []Node) {
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
}
