package certs

import "context"

// Renew replaces a host's certificate now, whatever is left of it.
func (m *Manager) Renew(ctx context.Context, host string) error { return m.renew(ctx, host, true) }
