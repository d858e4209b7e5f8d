package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// MemberServerName is the server name with which members connect to a proxy's admin
// listener: they want the proxy's certificate as a member, people one for the
// address that they typed.
const MemberServerName = "proxy.member.portico"

// How long certificates live. Members renew theirs when a third is left.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	memberLife    = 90 * 24 * time.Hour
	serverLife    = 90 * 24 * time.Hour
	backdate      = 48 * time.Hour // so that a machine whose clock is behind can join
)

// SecretAuthority is the name of the catalog's secret that holds the authority's
// certificate and key as PEM.
const SecretAuthority = "ca"

// Authority is the cluster's own certificate authority. Its key is made by the
// first proxy and never leaves the catalog's secrets.
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	now     func() time.Time
}

// LoadAuthority reads the authority from the catalog's secrets, and makes it
// there if there is none yet; when several proxies start at once, they agree on one. A nil
// now means time.Now.
func LoadAuthority(ctx context.Context, c *catalog.Catalog, now func() time.Time) (*Authority, error) {
	if now == nil {
		now = time.Now
	}
	cluster := c.View().ClusterID
	stored, err := c.Secret(SecretAuthority)
	if errors.Is(err, catalog.ErrNotFound) {
		var fresh []byte
		if fresh, err = newAuthority(cluster, now()); err != nil {
			return nil, fmt.Errorf("make authority: %w", err)
		}
		_, err = c.Update(ctx, func(tx *catalog.Tx) error {
			var err error
			if stored, err = tx.Secret(SecretAuthority); !errors.Is(err, catalog.ErrNotFound) {
				return err // another proxy was first, or the secret does not open
			}
			stored = fresh
			return tx.PutSecret(SecretAuthority, fresh)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	a, err := parseAuthority(stored)
	if err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	a.cluster, a.now = cluster, now
	return a, nil
}

func newAuthority(cluster string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "portico cluster " + cluster, Organization: []string{"portico"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...), nil
}

func parseAuthority(stored []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(stored, stored)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("its key is a %T", pair.PrivateKey)
	}
	return &Authority{cert: pair.Leaf, key: key}, nil
}

// Fingerprint returns what names this authority to those who join or log in:
// "sha256:" and the SHA-256 of its public key in hexadecimal.
func (a *Authority) Fingerprint() string { return "sha256:" + Fingerprint(a.cert) }

// Certificate returns the authority's own certificate, DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// Fingerprint returns the SHA-256 of a certificate's public key (SPKI) in
// hexadecimal: what Member.Fingerprint holds.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// ParseCSR reads a request for a certificate, DER, checks that its sender has the
// key, and returns the key's fingerprint as in Fingerprint.
func ParseCSR(der []byte) (*x509.CertificateRequest, string, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, "", fmt.Errorf("certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, "", fmt.Errorf("certificate request: its sender does not have its key: %w", err)
	}
	switch k := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return nil, "", fmt.Errorf("certificate request: curve %s is not accepted, use P-256", k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return nil, "", fmt.Errorf("certificate request: a %T is not accepted, use ECDSA P-256", csr.PublicKey)
	}
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	return csr, hex.EncodeToString(sum[:]), nil
}

// SignMember issues a certificate for an accepted member, valid 90 days from now.
// Nothing but the key is taken from the request, and that must be the key that the member
// was accepted with.
func (a *Authority) SignMember(csr []byte, m catalog.Member, now time.Time) ([]byte, error) {
	if err := sites.ValidName("member", m.Name); err != nil {
		return nil, fmt.Errorf("sign member: %w", err)
	}
	if m.Role != catalog.RoleProxy && m.Role != catalog.RoleServer {
		return nil, fmt.Errorf("sign member %q: role %q is not known", m.Name, m.Role)
	}
	if m.Admission != catalog.Accepted {
		return nil, fmt.Errorf("sign member %q: it is %s, not accepted", m.Name, m.Admission)
	}
	req, fingerprint, err := ParseCSR(csr)
	if err != nil {
		return nil, fmt.Errorf("sign member %q: %w", m.Name, err)
	}
	if fingerprint != m.Fingerprint {
		return nil, fmt.Errorf("sign member %q: the request is for key %s, the member was accepted with %s", m.Name, fingerprint, m.Fingerprint)
	}
	t := a.template(now, memberLife)
	t.Subject = pkix.Name{CommonName: m.Name, Organization: []string{"portico"}, OrganizationalUnit: []string{string(m.Role)}}
	// The wildcard is for instances of that member, see the agent's listener.
	t.DNSNames = []string{m.Name + ".member.portico", "*." + m.Name + ".member.portico"}
	t.URIs = []*url.URL{peerURI(Peer{a.cluster, m.Role, m.Name})}
	if m.Role == catalog.RoleProxy && m.Catalog != "" {
		// What replicates the catalog knows the other side by its address.
		host, _, err := net.SplitHostPort(m.Catalog)
		if err != nil {
			return nil, fmt.Errorf("sign member %q: the address of its catalog: %w", m.Name, err)
		}
		addHost(t, host)
		t.DNSNames = append(t.DNSNames, catalogName(m.Name))
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return a.sign(t, req.PublicKey)
}

// IssueServer makes a key and a certificate for names (host names, wildcards, IP
// addresses), valid 90 days: for the admin listener and for sites whose
// certificates come from the cluster. The chain includes the authority, so that a
// client that knows its fingerprint can check it.
func (a *Authority) IssueServer(names []string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := a.template(a.now(), serverLife)
	for _, n := range names {
		addHost(t, n)
	}
	if len(names) > 0 {
		t.Subject = pkix.Name{Organization: []string{"portico"}, CommonName: shortName(names[0])}
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := a.sign(t, key.Public())
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %q: %w", names, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// addHost makes a certificate good for an address or a name.
func addHost(t *x509.Certificate, host string) {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		t.IPAddresses = append(t.IPAddresses, ip.Unmap().AsSlice())
	} else {
		t.DNSNames = append(t.DNSNames, host)
	}
}

// shortName cuts a name to the 64 characters that a common name may have; only
// the subject alternative names count.
func shortName(n string) string { return n[:min(len(n), 64)] }

func (a *Authority) template(now time.Time, life time.Duration) *x509.Certificate {
	end := now.Add(life)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	return &x509.Certificate{
		SerialNumber:          serial(),
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
}

func (a *Authority) sign(t *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	return x509.CreateCertificate(rand.Reader, t, a.cert, pub, a.key)
}

// serial returns a random serial number of 127 bits.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[0] &= 0x7f
	b[15] |= 1 // RFC 5280 section 4.1.2.2: positive
	return new(big.Int).SetBytes(b[:])
}
