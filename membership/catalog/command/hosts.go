package command

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// maxGrants is how many sites one host can be shared with.
const maxGrants = 100

// ShareHost lets a site have a host beside the sites of other accounts that have it now,
// or a wildcard over it, or names under it. AnyHost shares what sites without hosts answer
// on. The site need not be there yet. It changes no site's settings. ErrConflict: nobody
// else has the host, or it is a name of an admin page.
func ShareHost(tx *catalog.Tx, host, site, by string, now time.Time) error {
	host, err := hostToShare(tx, host, site)
	if err != nil {
		return err
	}
	beside := besides(tx.Hosts(), host, site)
	if len(beside) == 0 {
		return fmt.Errorf("%w: no other site has host %q, so site %q needs nobody's word: it can name it in its hosts", catalog.ErrConflict, host, site)
	}
	shared, err := tx.SharedHost(host)
	if err != nil {
		return err
	}
	shared.Grants = slices.DeleteFunc(shared.Grants, func(g catalog.HostGrant) bool { return g.Site == site })
	if len(shared.Grants) >= maxGrants {
		return fmt.Errorf("%w: host %q is shared with %d sites, the most", catalog.ErrConflict, host, maxGrants)
	}
	shared.Grants = append(shared.Grants, catalog.HostGrant{Site: site, Beside: beside, By: by, At: now.UTC()})
	tx.PutSharedHost(shared)
	return nil
}

// UnshareHost takes back what ShareHost gave. Where the site has the host and others do
// as well, it loses it: its other hosts stay. ErrConflict: it has no other host.
func UnshareHost(tx *catalog.Tx, host, site string, now time.Time) error {
	host, err := hostToShare(tx, host, site)
	if err != nil {
		return err
	}
	if tx.Hosts().Grant(host, site) == nil {
		return fmt.Errorf("host %q shared with site %q: %w", host, site, catalog.ErrNotFound)
	}
	if err := dropGrants(tx, func(h string, g catalog.HostGrant) bool { return h == host && g.Site == site }); err != nil {
		return err
	}
	v := tx.Hosts()
	if len(besides(v, host, site)) == 0 || !slices.Contains(v.RoutesOf(site).Hosts, host) {
		return nil
	}
	return takeHost(tx, host, site, now)
}

// MoveHost gives a host to a site and takes it from every other site of the catalog that
// names it. It writes the hosts into what operators have set for these sites. ErrConflict:
// one of them would have no host left, or the site's path on it is another's.
func MoveHost(tx *catalog.Tx, host, site, by string, now time.Time) error {
	host, err := hostToShare(tx, host, site)
	if err != nil {
		return err
	}
	if host == sites.AnyHost {
		return fmt.Errorf("%w: %q is no host that can be moved: portico sites set SITE hosts=… gives a site hosts of its own", catalog.ErrInvalid, host)
	}
	to, err := tx.Site(site)
	if err != nil {
		return err
	}
	for _, name := range others(tx.Hosts(), host, site) {
		if slices.Contains(tx.Hosts().RoutesOf(name).Hosts, host) {
			if err := takeHost(tx, host, name, now); err != nil {
				return err
			}
		}
	}
	if len(besides(tx.Hosts(), host, site)) > 0 { // a wildcard of others, or names under this one
		if err := ShareHost(tx, host, site, by, now); err != nil {
			return err
		}
	}
	has := tx.Hosts().RoutesOf(site).Hosts
	if slices.Contains(has, host) {
		return nil
	}
	if slices.Equal(has, []string{sites.AnyHost}) {
		has = nil
	}
	return setHosts(tx, to, append(slices.Clone(has), host), by, now)
}

// hostToShare checks what the commands about hosts are given.
func hostToShare(tx *catalog.Tx, host, site string) (string, error) {
	host = sites.CanonicalHost(host)
	if host != sites.AnyHost {
		if err := sites.ValidHost(host); err != nil {
			return "", err
		}
	}
	reserved := tx.Hosts().Reserved
	for _, key := range slices.Sorted(maps.Keys(reserved)) {
		if r := reserved[key]; slices.Contains(r.Admin, host) {
			return "", fmt.Errorf("%w: host %q is a name of the admin page of proxy %q, whose login no site may share", catalog.ErrConflict, host, r.Proxy)
		}
	}
	return host, sites.ValidName("site", site)
}

// besides returns the owners of the other sites that have a host, or one that overlaps it.
func besides(v *catalog.View, host, site string) []string {
	var out []string
	for _, name := range others(v, host, site) {
		out = append(out, v.Owner(name))
	}
	for _, r := range v.Reserved {
		for _, s := range r.Sites {
			has := sites.HostsOf(sites.Settings{Front: sites.Front{Hosts: s.Hosts}})
			if slices.ContainsFunc(has, func(theirs string) bool { return overlap(theirs, host) }) {
				out = append(out, catalog.FileOwner)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// others returns the other sites of the catalog, by name, that have a host, or one that overlaps it.
func others(v *catalog.View, host, site string) []string {
	var out []string
	for _, r := range v.Routes().Overlapping(host) {
		if r.Site != site {
			out = append(out, r.Site)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// takeHost takes a host from a site that has others.
func takeHost(tx *catalog.Tx, host, site string, now time.Time) error {
	s, err := tx.Site(site)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(tx.Hosts().RoutesOf(site).Hosts), func(h string) bool { return h == host || h == sites.AnyHost })
	if len(left) == 0 {
		return fmt.Errorf("%w: site %q has no other host, and without one it would answer on every host: give it another first (portico sites set %s hosts=…), or remove it", catalog.ErrConflict, site, site)
	}
	return setHosts(tx, s, left, "", now)
}

// setHosts writes a site's hosts into what operators have set.
func setHosts(tx *catalog.Tx, s catalog.Site, hosts []string, by string, now time.Time) error {
	patch, err := json.Marshal(map[string]any{"hosts": hosts})
	if err != nil {
		return err
	}
	if s.Override, err = sites.MergeOverride(s.Override, patch); err != nil {
		return err
	}
	if _, err := checkSettings(tx, s.Name, s.Manifest, s.Override, by); err != nil {
		return err
	}
	s.Updated = now.UTC()
	return tx.PutSite(s)
}

// dropGrants forgets grants that match.
func dropGrants(tx *catalog.Tx, match func(host string, g catalog.HostGrant) bool) error {
	for _, shared := range tx.SharedHosts() {
		left := slices.DeleteFunc(slices.Clone(shared.Grants), func(g catalog.HostGrant) bool { return match(shared.Host, g) })
		switch {
		case len(left) == len(shared.Grants):
		case len(left) == 0:
			tx.DeleteSharedHost(shared.Host)
		default:
			shared.Grants = left
			tx.PutSharedHost(shared)
		}
	}
	return nil
}

// Reserve writes what a proxy's configuration has of the hosts. The names of the admin
// page are those that people type; addresses and localhost are left out, because sites without
// hosts answer there.
func Reserve(tx *catalog.Tx, r catalog.Reserved) error {
	if err := sites.ValidName("member", r.Proxy); err != nil {
		return err
	}
	var names []string
	for _, h := range r.Admin {
		h = sites.CanonicalHost(h)
		if _, err := netip.ParseAddr(h); err != nil && h != "localhost" && sites.ValidHost(h) == nil {
			names = append(names, h)
		}
	}
	slices.Sort(names)
	r.Admin = slices.Compact(names)
	tx.PutReserved(r)
	return nil
}
