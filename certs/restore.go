package certs

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"

	"portico/membership/catalog"
)

// RestoreIdentity copies the identity of the proxy called name from a folder that was saved into dir, which has none. It reports whether
// there was one: application servers know a proxy by its key, and would not let in one that makes itself another.
func RestoreIdentity(dir, saved, name string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(saved, fileCertificate))
	if err != nil {
		return false, nil //nolint:nilerr // only the catalog's key was saved
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return false, nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false, nil //nolint:nilerr // nothing that could be used
	}
	if p, err := peerOf(cert); err != nil || p.Role != catalog.RoleProxy || p.Name != name {
		return false, nil //nolint:nilerr // another machine's
	}
	for _, file := range []string{fileKey, fileMember, fileAuthority, fileCertificate} {
		data, err := os.ReadFile(filepath.Join(saved, file))
		if err != nil {
			return false, err
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			return false, err
		}
	}
	return true, nil
}
