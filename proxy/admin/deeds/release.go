package deeds

import (
	"context"
	"errors"
	"net/http"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
)

// RollBack begins a rollback.
func (d *Deeds) RollBack(ctx context.Context, who, site, digest string, noPin bool) (catalog.Deploy, error) {
	if d.Deploys == nil {
		return catalog.Deploy{}, refusal.NotOffered("deploys")
	}
	return d.Deploys.Rollback(ctx, site, digest, noPin, who)
}

// RollbackDetail is what the audit says of a rollback.
func RollbackDetail(digest string, noPin bool) string {
	if noPin {
		return digest + ", sessions cut"
	}
	return digest
}

// RollbackTarget finds the release that a rollback would go to, and refuses one that
// could not begin.
func (d *Deeds) RollbackTarget(site *catalog.Site, prefix string) (string, error) {
	digest, err := d.PickRelease(site, prefix)
	if err != nil {
		return "", err
	}
	target, err := command.RollbackTarget(d.Catalog.View(), site.Name, digest)
	if err != nil {
		return "", err
	}
	if target.Digest == site.Release {
		return "", refusal.New(http.StatusConflict, "conflict", "portico releases "+site.Name+" lists the others", "site %q runs release %s already", site.Name, ids.ShortRelease(target.Digest))
	}
	return target.Digest, nil
}

// PickRelease finds a release by a prefix of its digest; empty stays empty and
// means the one before.
func (d *Deeds) PickRelease(site *catalog.Site, prefix string) (string, error) {
	if prefix == "" {
		return "", nil
	}
	if len(prefix) < 6 {
		return "", refusal.BadRequest("give at least six characters", "release %q is too short", prefix)
	}
	release, err := command.ReleaseByPrefix(d.Catalog.View(), site.Name, prefix)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return "", refusal.NotFound("portico releases "+site.Name+" lists them", "site %q has no release %q", site.Name, prefix)
	case err != nil:
		return "", refusal.BadRequest("give more characters", "several releases begin with %q", prefix)
	}
	return release.Digest, nil
}

// EndRelease ends a former release at once.
func (d *Deeds) EndRelease(ctx context.Context, who, site, digest string) error {
	if d.Drains == nil {
		return refusal.NotOffered("drains")
	}
	if rec := d.Catalog.View().Sites[site]; rec != nil && digest == rec.Release {
		return refusal.New(http.StatusConflict, "conflict", "deploy another or roll back first", "%s is the present release of site %q", ids.ShortRelease(digest), site)
	}
	return d.Drains.EndRetiring(ctx, site, digest, who)
}
