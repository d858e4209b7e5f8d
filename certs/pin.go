package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"portico/membership/catalog"
)

// ErrWrongAuthority reports a server whose certificate the pinned authority did
// not sign.
var ErrWrongAuthority = errors.New("server is not of the expected cluster")

// PinnedClientTLS returns the client side for those who know a cluster by its
// authority's fingerprint only (Authority.Fingerprint): a machine that knocks, a
// command that logs in. The chain that the server shows must contain that authority, and
// its certificate must be signed by it and not be an application server's. The host
// name is not looked at, so that any address of the cluster will do.
func PinnedClientTLS(fingerprint string) (*tls.Config, error) {
	pin, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(fingerprint)), "sha256:"), ":", ""))
	if err != nil || len(pin) != sha256.Size {
		return nil, fmt.Errorf("fingerprint %.90q: write \"sha256:\" and 64 hexadecimal digits, as the proxy prints it at its start", fingerprint)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it, against the pin
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyPinned(state.PeerCertificates, [sha256.Size]byte(pin))
		},
	}, nil
}

func verifyPinned(certs []*x509.Certificate, pin [sha256.Size]byte) error {
	if len(certs) == 0 {
		return errors.New("server showed no certificate")
	}
	for _, ca := range certs[1:] {
		if !ca.IsCA || sha256.Sum256(ca.RawSubjectPublicKeyInfo) != pin {
			continue
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca)
		if _, err := certs[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			return fmt.Errorf("%w: %w", ErrWrongAuthority, err)
		}
		if p, err := peerOf(certs[0]); len(certs[0].URIs) > 0 && (err != nil || p.Role != catalog.RoleProxy) {
			return fmt.Errorf("%w: it shows the certificate of an application server", ErrWrongAuthority)
		}
		return nil
	}
	return fmt.Errorf("%w: its authority is %s, expected sha256:%x", ErrWrongAuthority, lastFingerprint(certs), pin)
}

// lastFingerprint names the end of the chain that was shown.
func lastFingerprint(certs []*x509.Certificate) string {
	return "sha256:" + Fingerprint(certs[len(certs)-1])
}
