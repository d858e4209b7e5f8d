package deeds

import (
	"context"
	"strings"
	"time"

	"portico/deployhook"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
)

// Instance does a verb on an instance.
func (d *Deeds) Instance(ctx context.Context, who string, now time.Time, verb, site, id string, in api.DrainRequest) error {
	if verb == api.VerbDrain {
		return d.Drain(ctx, who, now, deployhook.Target{Site: site, Instance: id}, in)
	}
	_, err := d.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		_, err := command.SetInstanceAdmin(tx, site, id, InstanceState(verb), catalog.DrainOrder{})
		return err
	})
	return err
}

// InstanceState is what a verb makes of an instance; empty: there is no such verb.
func InstanceState(verb string) catalog.AdminState {
	return map[string]catalog.AdminState{api.VerbDrain: catalog.AdminDrain, api.VerbReady: catalog.AdminReady, api.VerbMaint: catalog.AdminMaint}[verb]
}

// PickInstance finds an instance of a site by the beginning of its id.
func (d *Deeds) PickInstance(site *catalog.Site, prefix string) (string, error) {
	var found []string
	for _, in := range d.Catalog.View().InstancesOf(site.Name) {
		if len(prefix) >= 4 && strings.HasPrefix(in.ID, prefix) {
			found = append(found, in.ID)
		}
	}
	if len(found) != 1 {
		return "", refusal.NotFound("portico sessions "+site.Name+" lists them; at least four characters are wanted", "site %q has %s whose id begins with %q", site.Name, api.Count(int64(len(found)), "instance"), api.Bounded(prefix, 40))
	}
	return found[0], nil
}
