package admin

import (
	"context"

	"portico/deployhook"
	"portico/membership/catalog"
)

// deeds are what operators do to members, sites, releases and instances, done for whoever
// may: the API's routes and the page's buttons both come here. A part that is nil is not
// offered.
type deeds struct {
	Catalog   *catalog.Catalog
	Admission deedsAdmission
	Deploys   deedsDeploys
	Drains    deedsDrains
}

// deedsAdmission decides who is a member.
type deedsAdmission interface {
	AcceptKey(ctx context.Context, name, fingerprint, by string, labels ...string) error // fingerprint: that of the machine that is meant, or ""
	Refuse(ctx context.Context, name, reason, by string) error
	Revoke(ctx context.Context, name, reason, by string) error
}

// deedsDeploys moves sites between releases.
type deedsDeploys interface {
	Rollback(ctx context.Context, site, release string, noPin bool, by string) (catalog.Deploy, error)
	Remove(ctx context.Context, site, by string) error
	Cancel(ctx context.Context, site, by string) (catalog.Deploy, error)
}

// deedsDrains empties members, instances and former releases of their sessions.
type deedsDrains interface {
	Drain(ctx context.Context, t deployhook.Target, o catalog.DrainOrder) error
	EndRetiring(ctx context.Context, site, release, by string) error
}
