package membership

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// maxPending is how many machines may wait for a decision. The list is for
// people to read, and anybody can put something on it.
const maxPending = 100

// rules are what a decision rests on beside the catalog's view.
type rules struct {
	version  string // of this proxy
	accepted bool   // who asks is a member already
	loopback bool   // this proxy is reached over loopback, so members may be as well
}

// decision is the outcome of a knock. Exactly one of the cases holds.
type decision struct {
	accepted *catalog.Member // accepted before, with this key
	pending  *catalog.Member // to wait; differs from what is stored if changed
	changed  bool            // pending is to be written
	invited  bool            // pending is to be accepted if the code that it shows is good
	refusal  *Refusal
}

// admit decides about a knock whose sender has proved to have the key with
// this fingerprint. It is pure: the same view, request and time give the same
// decision.
func admit(v *catalog.View, r rules, k Knock, fingerprint string, now time.Time) decision {
	if refusal := checkHello(k.Hello, r); refusal != nil {
		return decision{refusal: refusal}
	}
	known := v.Members[k.Name]
	if known != nil && known.Fingerprint == fingerprint {
		switch known.Admission {
		case catalog.Accepted:
			return decision{accepted: known}
		case catalog.Refused:
			return decision{refusal: refuse(http.StatusForbidden, CodeRefused, "ask an operator of the cluster", "this machine was refused%s", because(known.Reason))}
		case catalog.Revoked:
			return decision{refusal: refuse(http.StatusForbidden, CodeRevoked, "ask an operator of the cluster", "this machine's acceptance was revoked%s", because(known.Reason))}
		}
	}
	if refusal := conflict(v, k.Hello, fingerprint); refusal != nil {
		return decision{refusal: refusal}
	}
	if refusal := missingRuntime(v, k.Hello); refusal != nil {
		return decision{refusal: refusal}
	}
	m := record(k, fingerprint, now)
	if known != nil && known.Admission == catalog.Pending {
		m.Knocked = known.Knocked
	}
	if k.Code != "" {
		return decision{pending: m, invited: true}
	}
	if known == nil && pendingIn(v) >= maxPending {
		return decision{refusal: refuse(http.StatusTooManyRequests, CodeFull, "an operator should accept or refuse some, or give this machine an invite", "%d machines wait for a decision already", maxPending)}
	}
	return decision{pending: m, changed: known == nil || !sameHello(*known, *m)}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func record(k Knock, fingerprint string, now time.Time) *catalog.Member {
	return &catalog.Member{
		Name: k.Name, ID: k.ID, Role: k.Role, Admission: catalog.Pending, Admin: catalog.AdminReady,
		Addr: k.Addr, Gossip: k.Gossip, Catalog: k.Catalog, Fingerprint: fingerprint, Version: k.Version, Platform: k.Platform,
		Runtimes: k.Runtimes, Zone: k.Zone, Weight: k.Weight, CSR: k.CSR, Knocked: now,
	}
}

// sameHello reports whether b says nothing new. Another CSR of the same key is
// nothing new.
func sameHello(a, b catalog.Member) bool {
	return a.Fingerprint == b.Fingerprint && a.ID == b.ID && a.Role == b.Role && a.Addr == b.Addr && a.Gossip == b.Gossip && a.Catalog == b.Catalog &&
		a.Version == b.Version && a.Platform == b.Platform && a.Zone == b.Zone && a.Weight == b.Weight && maps.Equal(a.Runtimes, b.Runtimes)
}

func pendingIn(v *catalog.View) int {
	n := 0
	for _, m := range v.Members {
		if m.Admission == catalog.Pending {
			n++
		}
	}
	return n
}

// checkHello refuses what could never work, whoever says it.
func checkHello(h Hello, r rules) *Refusal {
	bad := func(format string, args ...any) *Refusal {
		return refuse(http.StatusBadRequest, CodeInvalid, "", format, args...)
	}
	if err := sites.ValidName("member", h.Name); err != nil {
		return bad("%v", err)
	}
	switch {
	case h.Role != catalog.RoleProxy && h.Role != catalog.RoleServer:
		return bad("role %.20q is neither proxy nor server", h.Role)
	case h.ID == "" || !shown(h.ID, 64):
		return bad("id %.80q is not an id", h.ID)
	case !shown(h.Version, 64) || !shown(h.Platform, 64) || !shown(h.Zone, 32):
		return bad("version, platform or zone is too long or cannot be printed")
	case h.Weight < 0 || h.Weight > 256:
		return bad("weight %d is not between 1 and 256", h.Weight)
	case len(h.Runtimes) > 32:
		return bad("%d runtimes, the most is 32", len(h.Runtimes))
	}
	for name, version := range h.Runtimes {
		if name == "" || !shown(name, 32) || !shown(version, 64) {
			return bad("runtime %.40q is too long or cannot be printed", name)
		}
	}
	if refusal := checkVersion(h.Version, r); refusal != nil {
		return refusal
	}
	if refusal := routable("address", h.Addr, r.loopback); refusal != nil {
		return refusal
	}
	if h.Gossip != "" {
		if refusal := routable("gossip address", h.Gossip, r.loopback); refusal != nil {
			return refusal
		}
	}
	switch {
	case h.Role == catalog.RoleProxy:
		return routable("catalog address", h.Catalog, r.loopback)
	case h.Catalog != "":
		return bad("an application server has no catalog, and it names %.80q", h.Catalog)
	}
	return nil
}

// checkVersion wants newcomers to run what the cluster runs. A member that was
// accepted may be one minor version apart: proxies and application servers are
// upgraded one after the other, and until the last one is done each may restart,
// move or need another certificate.
func checkVersion(version string, r rules) *Refusal {
	switch {
	case sameVersion(version, r.version), r.accepted && adjacent(version, r.version):
		return nil
	case r.accepted:
		return refuse(http.StatusForbidden, CodeVersion, "upgrade one minor version at a time, the proxies first",
			"this machine runs portico %s, the cluster runs %s: more than one minor version lies between them", orUnknown(version), orUnknown(r.version))
	}
	return refuse(http.StatusForbidden, CodeVersion, "install the cluster's version on this machine",
		"this machine runs portico %s, the cluster runs %s: the first two numbers must agree", orUnknown(version), orUnknown(r.version))
}

// adjacent reports whether two versions are neighbours of one major version. Of
// builds whose names are no numbers nobody can tell, so they are.
func adjacent(a, b string) bool {
	majorA, minorA, okA := numbers(a)
	majorB, minorB, okB := numbers(b)
	if !okA || !okB {
		return true
	}
	return majorA == majorB && max(minorA, minorB)-min(minorA, minorB) <= 1
}

func orUnknown(version string) string {
	if version == "" {
		return "an unknown version"
	}
	return version
}

// shown reports whether s is at most n bytes and can stand in a page, a log
// line or a configuration as it is, once escaped.
func shown(s string, n int) bool {
	return len(s) <= n && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
}

// sameVersion compares major and minor; versions of another form (a build of
// one's own) must be equal.
func sameVersion(a, b string) bool {
	return majorMinor(a) == majorMinor(b)
}

func majorMinor(version string) string {
	major, minor, ok := numbers(version)
	if !ok {
		return version
	}
	return fmt.Sprint(major, ".", minor)
}

// numbers returns the first two of a version such as v1.2.3-rc1.
func numbers(version string) (major, minor uint64, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err := strconv.ParseUint(parts[0], 10, 32)
	minor, err2 := strconv.ParseUint(parts[1], 10, 32)
	return major, minor, err == nil && err2 == nil
}

// routable refuses addresses at which no other member could reach a machine.
func routable(what, addr string, loopback bool) *Refusal {
	bad := func(why string) *Refusal {
		return refuse(http.StatusForbidden, CodeAddress, "set the address to advertise on this machine (agent.advertise or admin.advertise, gossip.advertise, catalog.advertise)", "%s %.80q %s", what, addr, why)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return bad("is not host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bad("has no usable port")
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		switch name := strings.TrimSuffix(strings.ToLower(host), "."); {
		case !hostName(name):
			return bad("has no usable host")
		case (name == "localhost" || strings.HasSuffix(name, ".localhost")) && !loopback:
			return bad("is this machine's own loopback")
		}
		return nil
	}
	ip = ip.Unmap()
	switch {
	case ip.IsUnspecified():
		return bad("is a wildcard, nobody can connect to it")
	case ip.IsLoopback() && !loopback:
		return bad("is loopback, only this machine itself can connect to it")
	case ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return bad("is no address of a machine")
	case ip.IsLinkLocalUnicast():
		return bad("is link-local, it leads nowhere from another network")
	}
	return nil
}

func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// conflict refuses a machine that would stand where another one does. Only the
// name of a pending one counts, not its address: whoever knocks could else lock
// out a machine by claiming its address.
func conflict(v *catalog.View, h Hello, fingerprint string) *Refusal {
	if other := v.Members[h.Name]; other != nil && other.Fingerprint != fingerprint && other.Admission != catalog.Refused {
		return refuse(http.StatusForbidden, CodeNameTaken,
			"give this machine another name; if it replaces that one, or lost its identity folder, an operator has to revoke or refuse the old one and remove it",
			"the name %q belongs to a machine with another key (%s, %.16s…)", h.Name, other.Admission, other.Fingerprint)
	}
	for _, name := range sortedNames(v.Members) {
		m := v.Members[name]
		if m.Name == h.Name || m.Admission == catalog.Refused {
			continue
		}
		if m.Fingerprint == fingerprint {
			return refuse(http.StatusForbidden, CodeKeyTaken, "remove the identity folder that was copied, so that this machine makes its own key",
				"the key of this machine belongs to member %q", m.Name)
		}
		if m.Admission != catalog.Accepted {
			continue
		}
		for _, theirs := range []string{m.Addr, m.Gossip, m.Catalog} {
			if theirs != "" && (theirs == h.Addr || theirs == h.Gossip || theirs == h.Catalog) {
				return refuse(http.StatusForbidden, CodeAddressTaken, "set the address to advertise on this machine, or another port",
					"the address %s belongs to member %q", theirs, m.Name)
			}
		}
	}
	return nil
}

func sortedNames(m map[string]*catalog.Member) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// missingRuntime refuses an application server on which a site could never run that
// is installed on every server, or on one of this name.
func missingRuntime(v *catalog.View, h Hello) *Refusal {
	if h.Role != catalog.RoleServer {
		return nil
	}
	names := make([]string, 0, len(v.Sites))
	for name := range v.Sites {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s, err := v.Sites[name].Effective()
		if err != nil || s.Kind != sites.KindTomcat || !(&catalog.Member{Name: h.Name}).Takes(s) {
			continue
		}
		if _, ok := h.Runtimes["tomcat"]; !ok {
			return refuse(http.StatusForbidden, CodeRuntime, "install Tomcat's files (on Debian the package tomcat10-common) and Java, or say where they lie (agent.tomcat.home)", "site %q needs a Tomcat, and this machine has none", name)
		}
	}
	return nil
}

// keyOf reads a CSR, checks that its sender has the key, and returns the key's
// fingerprint as in Member.Fingerprint.
func keyOf(der []byte) (string, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return "", fmt.Errorf("read certificate request: %w", err)
	}
	switch k := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return "", fmt.Errorf("read certificate request: curve %s is not accepted, use P-256", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return "", fmt.Errorf("read certificate request: a %T is not accepted, use ECDSA P-256", csr.PublicKey)
	}
	if err := csr.CheckSignature(); err != nil {
		return "", fmt.Errorf("read certificate request: its sender does not have its key: %w", err)
	}
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:]), nil
}
