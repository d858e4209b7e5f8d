package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// Peer is whom a member's certificate names.
type Peer struct {
	Cluster string
	Role    catalog.Role
	Name    string
}

// Check decides whether a peer whose certificate is genuine may connect. The
// fingerprint is that of its key, as Member.Fingerprint. It runs on every
// handshake, resumed ones too, so it must be quick and must not block.
type Check func(role catalog.Role, name, fingerprint string) error

// ErrNotMember reports a peer that is not, or is no longer, an accepted member.
var ErrNotMember = errors.New("not an accepted member")

// CheckView returns a Check that accepts the members that the catalog's current
// view accepts, each with the key and role that it was accepted with.
func CheckView(view func() *catalog.View) Check {
	return func(role catalog.Role, name, fingerprint string) error {
		m := view().Members[name]
		if m == nil || m.Admission != catalog.Accepted || m.Role != role || m.Fingerprint != fingerprint {
			return fmt.Errorf("%w: %s %q with key %s", ErrNotMember, role, name, fingerprint)
		}
		return nil
	}
}

// MemberOf returns a function that tells which member sent a request, by its
// certificate and the current view. It is to be asked for each request: a member that was
// revoked a moment ago is none, though its connection lives.
func MemberOf(view func() *catalog.View) func(*http.Request) (catalog.Member, bool) {
	check := CheckView(view)
	return func(r *http.Request) (catalog.Member, bool) {
		if r.TLS == nil {
			return catalog.Member{}, false
		}
		p, fingerprint, ok := PeerOf(*r.TLS)
		if !ok || p.Cluster != view().ClusterID || check(p.Role, p.Name, fingerprint) != nil {
			return catalog.Member{}, false
		}
		m := view().Members[p.Name]
		if m == nil {
			return catalog.Member{}, false
		}
		return *m, true
	}
}

// PeerOf returns whom the certificate of a connection names, and its key's
// fingerprint. The connection must have been made with a configuration of this package, which
// verified the certificate; without a member's certificate ok is false.
func PeerOf(state tls.ConnectionState) (p Peer, fingerprint string, ok bool) {
	if len(state.PeerCertificates) == 0 {
		return Peer{}, "", false
	}
	leaf := state.PeerCertificates[0]
	p, err := peerOf(leaf)
	if err != nil {
		return Peer{}, "", false
	}
	return p, Fingerprint(leaf), true
}

func peerURI(p Peer) *url.URL {
	return &url.URL{Scheme: "portico", Host: p.Cluster, Path: "/" + string(p.Role) + "/" + p.Name}
}

// peerOf reads the one portico URI of a certificate.
func peerOf(c *x509.Certificate) (Peer, error) {
	var found *url.URL
	for _, u := range c.URIs {
		if u.Scheme == "portico" {
			if found != nil {
				return Peer{}, errors.New("certificate names two members")
			}
			found = u
		}
	}
	if found == nil {
		return Peer{}, errors.New("certificate names no member")
	}
	role, name, _ := strings.Cut(strings.TrimPrefix(found.Path, "/"), "/")
	if found.Host == "" || sites.ValidName("member", name) != nil || (role != string(catalog.RoleProxy) && role != string(catalog.RoleServer)) {
		return Peer{}, fmt.Errorf("certificate names no member: %.120q", found)
	}
	return Peer{found.Host, catalog.Role(role), name}, nil
}

// verify checks a peer's certificates: they chain to pool for the given use, they name a
// member of the cluster, and check agrees.
func verify(certs []*x509.Certificate, pool *x509.CertPool, cluster string, use x509.ExtKeyUsage, check Check) (Peer, error) {
	if len(certs) == 0 {
		return Peer{}, errors.New("peer showed no certificate")
	}
	leaf := certs[0]
	opts := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{use}}
	if _, err := leaf.Verify(opts); err != nil {
		return Peer{}, err
	}
	p, err := peerOf(leaf)
	if err != nil {
		return Peer{}, err
	}
	if p.Cluster != cluster {
		return Peer{}, fmt.Errorf("%w: %q belongs to cluster %q, this is %q", ErrNotMember, p.Name, p.Cluster, cluster)
	}
	if check != nil {
		if err := check(p.Role, p.Name, Fingerprint(leaf)); err != nil {
			return Peer{}, err
		}
	}
	return p, nil
}
