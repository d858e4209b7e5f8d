package certs

import (
	"context"
	"crypto/x509"
)

// Renew replaces a host's certificate now, whatever is left of it.
func (m *Manager) Renew(ctx context.Context, host string) error { return m.renew(ctx, host, true) }

// Fresh reports whether a certificate of the authority is shown further on.
func Fresh(leaf *x509.Certificate) bool { return fresh(leaf) }
