package deeds

import (
	"context"

	"portico/internal/refusal"
	"portico/membership/catalog"
)

// Cancel cancels a site's running deploy.
func (d *Deeds) Cancel(ctx context.Context, who, site string) (catalog.Deploy, error) {
	if d.Deploys == nil {
		return catalog.Deploy{}, refusal.NotOffered("deploys")
	}
	return d.Deploys.Cancel(ctx, site, who)
}

// Remove removes a site.
func (d *Deeds) Remove(ctx context.Context, who, site string) error {
	if d.Deploys == nil {
		return refusal.NotOffered("deploys")
	}
	return d.Deploys.Remove(ctx, site, who)
}
