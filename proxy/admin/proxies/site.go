package proxies

import (
	"slices"

	"portico/balancer"
	"portico/balancer/figures"
	"portico/internal/refusal"
	"portico/proxy/admin/api"
)

// Pool returns the pool of a site.
func (a *All) Pool(name string) (*balancer.Pool, error) {
	if a.Balancer == nil {
		return nil, refusal.NotOffered("sessions")
	}
	p := a.Balancer.Pool(name)
	if p == nil {
		return nil, a.NoSite(name)
	}
	return p, nil
}

// NoSite is the refusal of a name that no deployed site has.
func (a *All) NoSite(name string) *refusal.Error {
	if a.fromFile(name) {
		return refusal.NotFound("change it there and reload the file with SIGHUP; drain = true below an upstream empties it of its sessions",
			"the site %q is one of the proxy's configuration file", api.Bounded(name, 60))
	}
	return refusal.NotFound("portico sites lists them", "there is no site %q", api.Bounded(name, 60))
}

// fromFile reports whether a site is one of the proxy's configuration file.
func (a *All) fromFile(name string) bool {
	return slices.ContainsFunc(a.ownPool(name), func(p figures.Pool) bool {
		return slices.ContainsFunc(p.Upstreams, func(u figures.Upstream) bool { return u.Static })
	})
}
