package deeds

import (
	"context"

	"portico/deployhook"
	"portico/membership/catalog"
)

// Deeds are carried out by these parts of the program. What is nil is not offered.
type Deeds struct {
	Catalog   *catalog.Catalog
	Admission Admission
	Deploys   Deploys
	Drains    Drains
}

// Admission decides who is a member.
type Admission interface {
	Accept(ctx context.Context, name, fingerprint, by string, labels ...string) error // fingerprint: that of the machine that is meant, or ""
	Refuse(ctx context.Context, name, reason, by string) error
	Revoke(ctx context.Context, name, reason, by string) error
}

// Deploys moves sites between releases.
type Deploys interface {
	Rollback(ctx context.Context, site, release string, noPin bool, by string) (catalog.Deploy, error)
	Remove(ctx context.Context, site, by string) error
	Cancel(ctx context.Context, site, by string) (catalog.Deploy, error)
}

// Drains empties members, instances and former releases of their sessions.
type Drains interface {
	Drain(ctx context.Context, t deployhook.Target, o catalog.DrainOrder) error
	EndRetiring(ctx context.Context, site, release, by string) error
}
