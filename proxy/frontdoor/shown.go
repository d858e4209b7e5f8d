package frontdoor

import (
	"context"
	"net"
	"time"

	"portico/membership"
	"portico/membership/catalog"
)

// Name is the name of this member.
func (p *Proxy) Name() string { return p.conf.Proxy.Name }

// Fingerprint is that of the cluster's authority.
func (p *Proxy) Fingerprint() string { return p.authority.Fingerprint() }

// Catalog is what the cluster agrees on.
func (p *Proxy) Catalog() *catalog.Catalog { return p.catalog }

// Addr is where a frontend listens, "" where it does not.
func (p *Proxy) Addr(frontend string) string {
	if a := p.web.Addr(frontend); a != nil {
		return a.String()
	}
	return ""
}

// AdminAddr is where the admin listener listens.
func (p *Proxy) AdminAddr() net.Addr { return p.listener.Addr() }

// InRotation reports whether an instance gets visitors.
func (p *Proxy) InRotation(instance string) bool { return p.web.InRotation(instance) }

// Invite makes a code with which a machine may join without being accepted.
func (p *Proxy) Invite(ctx context.Context, role catalog.Role, ttl time.Duration, by string) (membership.Invited, error) {
	return p.admission.Invite(ctx, role, ttl, by)
}
