package membership

import (
	"os"
	"strings"
	"time"

	"portico/conf/sites"
)

// Identity is what a machine keeps of itself, see certs.Identity.
type Identity interface {
	ID() string                               // random, made there
	Fingerprint() string                      // of its public key, hexadecimal
	CSR(name string) ([]byte, error)          // DER, signed with its key
	NotAfter() time.Time                      // of its certificate; zero without one
	NeedsRenewal(now time.Time) bool          // less than a third of its life is left
	Holds(name string, authority []byte) bool // a certificate of that name by that authority (DER)
	SetCertificate(leaf, authority []byte) error
	GossipKeys() ([][]byte, error)
	SetGossipKeys(keys [][]byte) error
}

// DefaultName makes a member's name of the host's: in lower case, up to the
// first dot, with what a name may not have replaced by hyphens. It is "member"
// when nothing is left.
func DefaultName() string {
	host, err := os.Hostname()
	if err != nil {
		return "member"
	}
	return NameOf(host)
}

// NameOf makes a valid member name of a host's name.
func NameOf(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, host)
	name = strings.Trim(name[:min(len(name), 40)], "-")
	if sites.ValidName("member", name) != nil {
		return "member"
	}
	return name
}
