package command

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// Claim is what a site is to answer on.
type Claim struct {
	Site     string
	Settings sites.Settings // with their defaults
	By       string         // the account that asks
}

// CheckHosts returns ErrConflict, with the other site's name and the remedy, when a
// host of the claim is not the site's to have:
//
//   - another site has the same host and path;
//   - another site has the host, or a wildcard over it, or a name under it, and neither
//     does the asking account stand for both sites nor has an operator shared the host,
//     see ShareHost;
//   - a proxy's admin page has the name;
//   - a browser could not tell the cookies of both sites apart.
//
// What the site answers on already stays valid, whoever else has it.
func CheckHosts(v *catalog.View, c Claim) error {
	var errs []error
	now := v.RoutesOf(c.Site)
	for _, r := range inTheWay(v, c, now) {
		other := r.Settings()
		errs = append(errs, checkRoutes(v, c, now, holder{site: r.Site, owner: v.Owner(r.Site), settings: &other}))
		if shared := sites.SharedCookie(c.Settings, other); shared != "" && !sharedBefore(v, c.Site, other) {
			errs = append(errs, fmt.Errorf("%w: a cookie %q would belong to site %q and to site %q on the same host: give %q another name, or set its session.cookie, for example to %q",
				catalog.ErrConflict, shared, r.Site, c.Site, c.Site, "portico-"+c.Site+"-session"))
		}
	}
	return errors.Join(append(errs, checkReserved(v, c, now))...)
}

// inTheWay returns the other sites, by name, that checkRoutes and sites.SharedCookie can refuse the claim for. There are few among
// thousands, so nobody else is looked at.
func inTheWay(v *catalog.View, c Claim, now catalog.Routes) []*catalog.SiteRoutes {
	index, path := v.Routes(), sites.CleanMount(c.Settings.Path)
	var found []*catalog.SiteRoutes
	for _, host := range sites.HostsOf(c.Settings) {
		if keeps(now, host, path) {
			found = append(found, index.At(host, path)...)
		} else {
			found = append(found, index.Overlapping(host)...)
		}
	}
	for _, name := range sites.CookiesLike(c.Settings.Session.Cookie) {
		found = append(found, index.WithCookie(name)...)
	}
	found = slices.DeleteFunc(found, func(r *catalog.SiteRoutes) bool { return r.Site == c.Site })
	slices.SortFunc(found, func(a, b *catalog.SiteRoutes) int { return cmp.Compare(a.Site, b.Site) })
	return slices.Compact(found)
}

// keeps reports whether a host at a path is what the site has already.
func keeps(now catalog.Routes, host, path string) bool {
	return now.Path == path && slices.Contains(now.Hosts, host)
}

// holder is who has hosts: a site, or one of a proxy's configuration file.
type holder struct {
	site, owner string
	file        string // the proxy whose file has it; empty: a site of the catalog
	settings    *sites.Settings
}

func (h holder) String() string {
	switch {
	case h.file != "":
		return fmt.Sprintf("site %q of the configuration file of proxy %q", h.site, h.file)
	case h.owner != "":
		return fmt.Sprintf("site %q of account %q", h.site, h.owner)
	}
	return fmt.Sprintf("site %q", h.site)
}

// checkRoutes compares what is claimed with what one other site has. now is what the
// claiming site has.
func checkRoutes(v *catalog.View, c Claim, now catalog.Routes, has holder) error {
	var errs []error
	path := sites.CleanMount(c.Settings.Path)
	for _, host := range sites.HostsOf(c.Settings) {
		mine := keeps(now, host, path)
		for _, theirs := range sites.HostsOf(*has.settings) {
			switch {
			case !overlap(host, theirs):
			case mine && (host != theirs || path != has.settings.Path || has.file != ""):
				// As it has been; two sites of the catalog never had the same host and path.
			case host == theirs && path == has.settings.Path && host == sites.AnyHost:
				errs = append(errs, fmt.Errorf("%w: %s already answers on every host at path %q; give %q a host or another path", catalog.ErrConflict, has, path, c.Site))
			case host == theirs && path == has.settings.Path:
				errs = append(errs, fmt.Errorf("%w: host %q with path %q belongs to %s; choose another host or path, or remove that site", catalog.ErrConflict, host, path, has))
			case !mayStandBeside(v, c, has, host):
				errs = append(errs, notTheirs(c, has, host, theirs))
			}
		}
	}
	return errors.Join(errs...)
}

// notTheirs is the refusal of a host that somebody else had first.
func notTheirs(c Claim, has holder, host, theirs string) error {
	what := fmt.Sprintf("host %q belongs to %s", host, has)
	switch {
	case host == sites.AnyHost:
		what = fmt.Sprintf("%s answers on every host that no site names", has)
	case host != theirs:
		what = fmt.Sprintf("host %q overlaps %q, which belongs to %s", host, theirs, has)
	}
	return fmt.Errorf("%w: %s; give %q another host, or ask an operator: portico hosts share '%s' %s", catalog.ErrConflict, what, c.Site, host, c.Site)
}

// checkReserved compares what is claimed with what the proxies have for themselves.
func checkReserved(v *catalog.View, c Claim, now catalog.Routes) error {
	path := sites.CleanMount(c.Settings.Path)
	if !slices.ContainsFunc(sites.HostsOf(c.Settings), func(host string) bool { return !keeps(now, host, path) }) {
		return nil // as it has been
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(v.Reserved)) {
		r := v.Reserved[key]
		if m := v.Members[r.Proxy]; m == nil || m.Admission != catalog.Accepted || m.Role != catalog.RoleProxy {
			continue
		}
		for _, host := range sites.HostsOf(c.Settings) {
			if slices.Contains(r.Admin, host) && !slices.Contains(now.Hosts, host) {
				errs = append(errs, fmt.Errorf("%w: host %q is a name of the admin page of proxy %q, whose login no site may share; give %q another host", catalog.ErrConflict, host, r.Proxy, c.Site))
			}
		}
		for _, s := range r.Sites {
			has := sites.Settings{Front: sites.Front{Hosts: s.Hosts, Path: sites.CleanMount(s.Path)}}
			errs = append(errs, checkRoutes(v, c, now, holder{site: s.Name, owner: catalog.FileOwner, file: r.Proxy, settings: &has}))
		}
	}
	return errors.Join(errs...)
}

// sharedBefore reports whether a site that is there has such a cookie by its present
// settings: a new name would cost its visitors their sessions, so it may go on.
func sharedBefore(v *catalog.View, site string, other sites.Settings) bool {
	rec := v.Sites[site]
	if rec == nil || rec.Release == "" {
		return false
	}
	now, err := rec.Effective()
	return err == nil && sites.SharedCookie(now, other) != ""
}

// scope returns the sites that the account is limited to; none: it is not limited.
func scope(a *catalog.Account) []string {
	if a.Role == catalog.RoleDeployer || a.Role == catalog.RoleViewer {
		return a.Sites
	}
	return nil
}

// mayStandBeside reports whether a site may have a host that overlaps one of another's: its
// account stands for both, or an operator has said so.
func mayStandBeside(v *catalog.View, c Claim, has holder, host string) bool {
	if shared := v.Hosts[host]; shared != nil && slices.ContainsFunc(shared.Grants, func(g catalog.HostGrant) bool {
		return g.Site == c.Site && slices.Contains(g.Beside, has.owner)
	}) {
		return true
	}
	if has.file != "" {
		return false
	}
	account := v.Accounts[c.By]
	if account == nil { // nobody's scope says what it stood for
		return has.owner == c.By
	}
	if scope := scope(account); len(scope) > 0 {
		return slices.Contains(scope, c.Site) && slices.Contains(scope, has.site)
	}
	own := c.By
	if v.Sites[c.Site] != nil {
		own = v.Owner(c.Site)
	}
	return has.owner == own
}

// overlap reports whether a request can be for both of two hosts: they are the same, or one
// is a wildcard over the other. AnyHost overlaps nothing else: it is what is left.
func overlap(a, b string) bool {
	return a == b || under(a, b) || under(b, a)
}

// under reports whether a wildcard covers a name or a narrower wildcard.
func under(wild, name string) bool {
	suffix, ok := strings.CutPrefix(wild, "*")
	return ok && suffix != "" && strings.HasSuffix(name, suffix) && name != wild
}
