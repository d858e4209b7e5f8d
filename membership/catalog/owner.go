package catalog

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"portico/conf/sites"
)

// FileOwner stands for the owner of the sites of a proxy's configuration file.
const FileOwner = "@file"

// SharedHost is a host that sites of several accounts may have. Stored under hosts/HOST.
type SharedHost struct {
	Host   string      `json:"host"` // as CanonicalHost writes it
	Grants []HostGrant `json:"grants"`
}

// HostGrant is an operator's word that a site may have a host beside those of other
// accounts.
type HostGrant struct {
	Site   string    `json:"site"`
	Beside []string  `json:"beside"` // accounts whose sites had the host then; it is good beside theirs only
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// Reserved is what a proxy's own configuration has of the hosts, or a part of it. Stored under
// reserved/PROXY; the sites of a long file have a record each, under reserved/PROXY/SITE. It counts while the
// proxy is an accepted member.
type Reserved struct {
	Proxy string         `json:"proxy"`
	Admin []string       `json:"admin,omitempty"` // names of the admin page; no site may have them
	Sites []ReservedSite `json:"sites,omitempty"` // of the configuration file
}

// ReservedSite is where a site of a configuration file answers.
type ReservedSite struct {
	Name  string   `json:"name"`
	Hosts []string `json:"hosts,omitempty"` // none: AnyHost
	Path  string   `json:"path"`
}

// Owner returns the account that a site belongs to: the one that installed it first. It
// is empty for a site that was never installed.
func (v *View) Owner(site string) string {
	s := v.Sites[site]
	if s == nil {
		return ""
	}
	if s.Owner != "" {
		return s.Owner
	}
	var first *Release // of a version that wrote no owner
	for _, digest := range slices.Sorted(maps.Keys(v.Releases[site])) {
		if r := v.Releases[site][digest]; first == nil || r.Created.Before(first.Created) {
			first = r
		}
	}
	if first == nil {
		return ""
	}
	return first.By
}

// Routes are the hosts and the path that a site answers on.
type Routes struct {
	Hosts []string
	Path  string
}

// RoutesOf returns what a site answers on by its present settings; nothing where there is
// no such site.
func (v *View) RoutesOf(site string) Routes {
	s := v.Sites[site]
	if s == nil {
		return Routes{}
	}
	r := v.knownRoutes(site)
	if r == nil {
		r = routesOf(s, site)
	}
	if r == nil {
		return Routes{}
	}
	return r.Routes
}

// HostLine is one host that somebody has.
type HostLine struct {
	Host   string
	Path   string
	Site   string // empty: a proxy's admin page
	Owner  string // account, or FileOwner
	Proxy  string // of an admin page or a configuration file
	Shared *HostGrant
}

// HostLines lists who has which hosts, by name.
func (v *View) HostLines() []HostLine {
	var out []HostLine
	for _, site := range slices.Sorted(maps.Keys(v.Sites)) {
		r := v.RoutesOf(site)
		for _, h := range r.Hosts {
			out = append(out, HostLine{Host: h, Path: r.Path, Site: site, Owner: v.Owner(site), Shared: v.Grant(h, site)})
		}
	}
	for _, h := range slices.Sorted(maps.Keys(v.Hosts)) { // shared, and not taken up yet
		for i, g := range v.Hosts[h].Grants {
			if !slices.Contains(v.RoutesOf(g.Site).Hosts, h) {
				out = append(out, HostLine{Host: h, Site: g.Site, Owner: v.Owner(g.Site), Shared: &v.Hosts[h].Grants[i]})
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(v.Reserved)) {
		r := v.Reserved[key]
		for _, h := range r.Admin {
			out = append(out, HostLine{Host: h, Path: "/", Proxy: r.Proxy})
		}
		for _, s := range r.Sites {
			for _, h := range sites.HostsOf(sites.Settings{Front: sites.Front{Hosts: s.Hosts}}) {
				out = append(out, HostLine{Host: h, Path: sites.CleanMount(s.Path), Site: s.Name, Owner: FileOwner, Proxy: r.Proxy})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b HostLine) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Path, b.Path)) })
	return out
}

// Grant returns the operator's word that a site may have a host, or nil.
func (v *View) Grant(host, site string) *HostGrant {
	shared := v.Hosts[host]
	if shared == nil {
		return nil
	}
	for i := range shared.Grants {
		if shared.Grants[i].Site == site {
			return &shared.Grants[i]
		}
	}
	return nil
}

// SharedHost returns what operators said of a host; one that nobody shared has no grants.
func (tx *Tx) SharedHost(host string) (SharedHost, error) {
	s, err := get(tx, preHosts+host, "shared host", tx.view.Hosts, host)
	if errors.Is(err, ErrNotFound) {
		return SharedHost{Host: host}, nil
	}
	return s, err
}

// SharedHosts returns all hosts that operators shared, by name.
func (tx *Tx) SharedHosts() []SharedHost { return all(tx, preHosts, tx.view.Hosts) }

// PutSharedHost writes what operators said of a host.
func (tx *Tx) PutSharedHost(s SharedHost) { set(tx, preHosts+s.Host, s) }

// DeleteSharedHost removes what operators said of a host.
func (tx *Tx) DeleteSharedHost(host string) { tx.remove(preHosts + host) }

// Hosts returns the view of who has which hosts, with what the change has written of sites and shared hosts
// so far. Nobody's hosts may change until the commit.
func (tx *Tx) Hosts() *View {
	tx.listed[preSites], tx.listed[preHosts], tx.listed[preReserved] = true, true, true
	v := *tx.view
	var changed map[string]bool
	if v.Sites, changed = overlay(tx, preSites, v.Sites); changed != nil {
		v.routes = &routes{of: v.Sites, base: v.routes, changed: changed}
	}
	v.Hosts, _ = overlay(tx, preHosts, v.Hosts)
	return &v
}

// overlay returns a collection with what the change has written of it, and the names of these records; nil: it is as it was.
func overlay[T any](tx *Tx, prefix string, in map[string]*T) (out map[string]*T, changed map[string]bool) {
	out = in
	for key, w := range tx.writes {
		name, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		if changed == nil {
			out, changed = maps.Clone(in), map[string]bool{}
		}
		changed[name] = true
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
	return out, changed
}
