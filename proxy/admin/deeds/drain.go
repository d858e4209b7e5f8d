package deeds

import (
	"context"
	"time"

	"portico/deployhook"
	"portico/internal/refusal"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// MaxDrain bounds deadlines and quiet times of drains.
const MaxDrain = 365 * 24 * time.Hour

// Drain empties a member, an instance or a former release of its sessions.
func (d *Deeds) Drain(ctx context.Context, who string, now time.Time, t deployhook.Target, in api.DrainRequest) error {
	if d.Drains == nil {
		return refusal.NotOffered("drains")
	}
	o, err := order(who, now, &in)
	if err != nil {
		return err
	}
	return d.Drains.Drain(ctx, t, o)
}

// order reads how to drain from a request.
func order(who string, now time.Time, in *api.DrainRequest) (catalog.DrainOrder, error) {
	o := catalog.DrainOrder{Since: now.UTC(), By: who}
	move, err := api.Duration(in.Move, 0, MaxDrain)
	if err != nil {
		return o, err
	}
	o.Move = units.Duration(move)
	deadline, err := api.Duration(in.Deadline, 0, MaxDrain)
	if err == nil && deadline > 0 {
		o.Deadline = o.Since.Add(deadline)
	}
	return o, err
}
