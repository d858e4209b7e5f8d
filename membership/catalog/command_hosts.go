package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"portico/conf/sites"
)

// maxGrants is how many sites one host can be shared with.
const maxGrants = 100

// ShareHost lets a site have a host beside the sites of other accounts that have it now,
// or a wildcard over it, or names under it. AnyHost shares what sites without hosts answer
// on. The site need not be there yet. It changes no site's settings. ErrConflict: nobody
// else has the host, or it is a name of an admin page.
func ShareHost(tx *Tx, host, site, by string, now time.Time) error {
	host, err := hostToShare(tx, host, site)
	if err != nil {
		return err
	}
	beside := besides(tx.overlaid(), host, site)
	if len(beside) == 0 {
		return fmt.Errorf("%w: no other site has host %q, so site %q needs nobody's word: it can name it in its hosts", ErrConflict, host, site)
	}
	shared, err := tx.sharedHost(host)
	if err != nil {
		return err
	}
	shared.Grants = slices.DeleteFunc(shared.Grants, func(g HostGrant) bool { return g.Site == site })
	if len(shared.Grants) >= maxGrants {
		return fmt.Errorf("%w: host %q is shared with %d sites, the most", ErrConflict, host, maxGrants)
	}
	shared.Grants = append(shared.Grants, HostGrant{Site: site, Beside: beside, By: by, At: now.UTC()})
	set(tx, preHosts+host, shared)
	return nil
}

// UnshareHost takes back what ShareHost gave. Where the site has the host and others do
// as well, it loses it: its other hosts stay. ErrConflict: it has no other host.
func UnshareHost(tx *Tx, host, site string, now time.Time) error {
	host, err := hostToShare(tx, host, site)
	if err != nil {
		return err
	}
	if tx.overlaid().grant(host, site) == nil {
		return fmt.Errorf("host %q shared with site %q: %w", host, site, ErrNotFound)
	}
	if err := dropGrants(tx, func(h string, g HostGrant) bool { return h == host && g.Site == site }); err != nil {
		return err
	}
	v := tx.overlaid()
	if len(besides(v, host, site)) == 0 || !slices.Contains(v.routesOf(site).hosts, host) {
		return nil
	}
	return takeHost(tx, host, site, now)
}

// MoveHost gives a host to a site and takes it from every other site of the catalog that
// names it. It writes the hosts into what operators have set for these sites. ErrConflict:
// one of them would have no host left, or the site's path on it is another's.
func MoveHost(tx *Tx, host, site, by string, now time.Time) error {
	host, err := hostToShare(tx, host, site)
	if err != nil {
		return err
	}
	if host == sites.AnyHost {
		return fmt.Errorf("%w: %q is no host that can be moved: portico sites set SITE hosts=… gives a site hosts of its own", ErrInvalid, host)
	}
	to, err := tx.Site(site)
	if err != nil {
		return err
	}
	for _, other := range tx.Sites() {
		if other.Name != site && slices.Contains(tx.overlaid().routesOf(other.Name).hosts, host) {
			if err := takeHost(tx, host, other.Name, now); err != nil {
				return err
			}
		}
	}
	if len(besides(tx.overlaid(), host, site)) > 0 { // a wildcard of others, or names under this one
		if err := ShareHost(tx, host, site, by, now); err != nil {
			return err
		}
	}
	has := tx.overlaid().routesOf(site).hosts
	if slices.Contains(has, host) {
		return nil
	}
	if slices.Equal(has, []string{sites.AnyHost}) {
		has = nil
	}
	return setHosts(tx, to, append(slices.Clone(has), host), by, now)
}

// hostToShare checks what the commands about hosts are given.
func hostToShare(tx *Tx, host, site string) (string, error) {
	host = sites.CanonicalHost(host)
	if host != sites.AnyHost {
		if err := sites.ValidHost(host); err != nil {
			return "", err
		}
	}
	tx.listed[preSites], tx.listed[preHosts], tx.listed[preReserved] = true, true, true
	for _, proxy := range sortedKeys(tx.view.Reserved) {
		if slices.Contains(tx.view.Reserved[proxy].Admin, host) {
			return "", fmt.Errorf("%w: host %q is a name of the admin page of proxy %q, whose login no site may share", ErrConflict, host, proxy)
		}
	}
	return host, sites.ValidName("site", site)
}

// besides returns the owners of the other sites that have a host, or one that overlaps it.
func besides(v *View, host, site string) []string {
	var out []string
	for _, l := range v.HostLines() {
		if l.Path != "" && l.Site != "" && (l.Site != site || l.Proxy != "") && overlap(l.Host, host) {
			out = append(out, l.Owner)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// takeHost takes a host from a site that has others.
func takeHost(tx *Tx, host, site string, now time.Time) error {
	s, err := tx.Site(site)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(tx.overlaid().routesOf(site).hosts), func(h string) bool { return h == host || h == sites.AnyHost })
	if len(left) == 0 {
		return fmt.Errorf("%w: site %q has no other host, and without one it would answer on every host: give it another first (portico sites set %s hosts=…), or remove it", ErrConflict, site, site)
	}
	return setHosts(tx, s, left, "", now)
}

// setHosts writes a site's hosts into what operators have set.
func setHosts(tx *Tx, s Site, hosts []string, by string, now time.Time) error {
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
func dropGrants(tx *Tx, match func(host string, g HostGrant) bool) error {
	for _, shared := range all(tx, preHosts, tx.view.Hosts) {
		left := slices.DeleteFunc(slices.Clone(shared.Grants), func(g HostGrant) bool { return match(shared.Host, g) })
		switch {
		case len(left) == len(shared.Grants):
		case len(left) == 0:
			tx.remove(preHosts + shared.Host)
		default:
			shared.Grants = left
			set(tx, preHosts+shared.Host, shared)
		}
	}
	return nil
}

func (tx *Tx) sharedHost(host string) (SharedHost, error) {
	s, err := get(tx, preHosts+host, "shared host", tx.view.Hosts, host)
	if errors.Is(err, ErrNotFound) {
		return SharedHost{Host: host}, nil
	}
	return s, err
}

// Reserve writes what a proxy's configuration has of the hosts. The names of the admin
// page are those that people type; addresses and localhost are left out, because sites without
// hosts answer there.
func Reserve(tx *Tx, r Reserved) error {
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
	set(tx, preReserved+r.Proxy, r)
	return nil
}

// overlaid returns the view with what the change has written of sites and hosts so far.
func (tx *Tx) overlaid() *View {
	v := *tx.view
	v.Sites = overlay(tx, preSites, v.Sites)
	v.Hosts = overlay(tx, preHosts, v.Hosts)
	return &v
}

func overlay[T any](tx *Tx, prefix string, in map[string]*T) map[string]*T {
	out, own := in, false
	for key, w := range tx.writes {
		name, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		if !own {
			out, own = maps.Clone(in), true
		}
		if out == nil {
			out = map[string]*T{}
		}
		if w == nil {
			delete(out, name)
			continue
		}
		r := w.(T)
		out[name] = &r
	}
	return out
}
