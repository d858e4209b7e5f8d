package frontdoor

import (
	"context"
	"slices"

	"portico/membership/catalog"
)

// reserveHosts tells the cluster which hosts this proxy's configuration has: the names of
// its admin page, which no site may take, and those of the sites of its file.
func (p *Proxy) reserveHosts(ctx context.Context) error {
	r := catalog.Reserved{Proxy: p.conf.Proxy.Name, Admin: p.adminNames()}
	for _, s := range *p.sites.Load() {
		r.Sites = append(r.Sites, catalog.ReservedSite{Name: s.Name, Hosts: s.Hosts, Path: s.Path})
	}
	before := p.catalog.View().Reserved[r.Proxy]
	_, err := p.catalog.Update(ctx, func(tx *catalog.Tx) error { return catalog.Reserve(tx, r) })
	if err == nil && p.catalog.View().Reserved[r.Proxy] != before {
		p.warnOfHosts()
	}
	return err
}

// warnOfHosts names the sites that had a name of an admin page before it was one: they go on.
func (p *Proxy) warnOfHosts() {
	lines := p.catalog.View().HostLines()
	for _, l := range lines {
		if l.Site == "" {
			continue
		}
		if slices.ContainsFunc(lines, func(a catalog.HostLine) bool { return a.Site == "" && a.Host == l.Host }) {
			p.log.Warn("a site has a name of the admin page: its scripts run beside the page's login, give one of them another host", "site", l.Site, "host", l.Host)
		}
	}
}
