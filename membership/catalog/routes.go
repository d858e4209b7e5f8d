package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"portico/conf/sites"
	"portico/internal/ordered"
)

// SiteRoutes is where one site answers by its present settings, and with which cookie.
type SiteRoutes struct {
	Site string
	Routes

	sticky, cookie string
	of             *Site // the record that says so
}

// routesOf returns nil for a site whose settings cannot be read: it answers nowhere.
func routesOf(s *Site, name string) *SiteRoutes {
	set, err := s.Effective()
	if err != nil {
		return nil
	}
	return &SiteRoutes{Site: name, Routes: Routes{sites.HostsOf(set), set.Path}, sticky: set.Session.Sticky, cookie: set.Session.Cookie, of: s}
}

// Settings returns the part of the site's settings that r is made of.
func (r *SiteRoutes) Settings() sites.Settings {
	return sites.Settings{Front: sites.Front{Hosts: r.Hosts, Path: r.Path, Session: sites.Session{Sticky: r.sticky, Cookie: r.cookie}}}
}

// RouteIndex finds among the sites of one view those that answer on a host. It does not change: the index of the next view is
// another one, with the same SiteRoutes of all sites whose records are the same.
type RouteIndex struct {
	bySite   ordered.List[*SiteRoutes]
	byCookie ordered.List[*SiteRoutes]
	byHost   ordered.List[routeOfHost] // from the end of the host, so that the names under a wildcard are neighbours; then by path
}

type routeOfHost struct {
	host string
	of   *SiteRoutes
}

// fewSites is up to how many changed sites are put into a copy of an index one by one. More are sorted in.
const fewSites = 64

// newRouteIndex makes the index of sites anew. What last has of the same records is not worked out again; last may be nil.
func newRouteIndex(of map[string]*Site, last *RouteIndex) *RouteIndex {
	list, hosts := make([]*SiteRoutes, 0, len(of)), make([]routeOfHost, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		r := last.of(name)
		if r == nil || r.of != of[name] {
			r = routesOf(of[name], name)
		}
		if r != nil {
			list, hosts = append(list, r), append(hosts, r.perHost()...)
		}
	}
	slices.SortFunc(hosts, byHost)
	return &RouteIndex{
		bySite:   ordered.Of(list, bySite),
		byCookie: ordered.Of(slices.SortedFunc(slices.Values(list), byCookie), byCookie),
		byHost:   ordered.Of(hosts, byHost),
	}
}

// with returns the index of sites of which those that are named may differ from the sites of x.
func (x *RouteIndex) with(of map[string]*Site, changed map[string]bool) *RouteIndex {
	if len(changed) > fewSites {
		return newRouteIndex(of, x)
	}
	var left, come []*SiteRoutes
	var leftHosts, comeHosts []routeOfHost
	for name := range changed {
		now, old := of[name], x.of(name)
		if old != nil && old.of == now {
			continue
		}
		if old != nil {
			left, leftHosts = append(left, old), append(leftHosts, old.perHost()...)
		}
		if now == nil {
			continue
		}
		if r := routesOf(now, name); r != nil {
			come, comeHosts = append(come, r), append(comeHosts, r.perHost()...)
		}
	}
	return &RouteIndex{
		bySite:   x.bySite.With(left, come),
		byCookie: x.byCookie.With(left, come),
		byHost:   x.byHost.With(leftHosts, comeHosts),
	}
}

func (r *SiteRoutes) perHost() []routeOfHost {
	out := make([]routeOfHost, 0, len(r.Hosts))
	for _, h := range r.Hosts {
		out = append(out, routeOfHost{h, r})
	}
	return out
}

func bySite(a, b *SiteRoutes) int { return cmp.Compare(a.Site, b.Site) }

func byCookie(a, b *SiteRoutes) int { return cmp.Or(cmp.Compare(a.cookie, b.cookie), bySite(a, b)) }

func byHost(a, b routeOfHost) int {
	return cmp.Or(fromEnd(a.host, b.host), cmp.Compare(a.of.Path, b.of.Path), bySite(a.of, b.of))
}

// fromEnd compares two hosts from their last characters on.
func fromEnd(a, b string) int {
	for i := 1; i <= min(len(a), len(b)); i++ {
		if c := cmp.Compare(a[len(a)-i], b[len(b)-i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// of returns the routes of a site, or nil.
func (x *RouteIndex) of(site string) *SiteRoutes {
	if x == nil {
		return nil
	}
	for r := range x.bySite.From(func(r *SiteRoutes) int { return cmp.Compare(r.Site, site) }) {
		if r.Site == site {
			return r
		}
		break
	}
	return nil
}

// At returns the sites that have the host at the path. The host is in its one form, see sites.CanonicalHost, here and in
// what follows.
func (x *RouteIndex) At(host, path string) []*SiteRoutes {
	return x.from(host, path, func(r routeOfHost) bool { return r.host == host && r.of.Path == path })
}

// Overlapping returns the sites that have the host, a wildcard over it, or, where it is a wildcard, a name under it. A site can be
// in it more than once. AnyHost overlaps itself alone.
func (x *RouteIndex) Overlapping(host string) []*SiteRoutes {
	out := x.from(host, "", func(r routeOfHost) bool { return r.host == host })
	for i := range len(host) {
		if wild := "*" + host[i:]; host[i] == '.' && wild != host {
			out = append(out, x.from(wild, "", func(r routeOfHost) bool { return r.host == wild })...)
		}
	}
	if under, ok := strings.CutPrefix(host, "*"); ok && under != "" {
		out = append(out, x.from(under, "", func(r routeOfHost) bool { return strings.HasSuffix(r.host, under) })...)
	}
	return out
}

// from returns the sites from the first at or behind the host and the path on, while they match.
func (x *RouteIndex) from(host, path string, match func(routeOfHost) bool) []*SiteRoutes {
	var out []*SiteRoutes
	for r := range x.byHost.From(func(r routeOfHost) int { return cmp.Or(fromEnd(r.host, host), cmp.Compare(r.of.Path, path)) }) {
		if !match(r) {
			break
		}
		out = append(out, r.of)
	}
	return out
}

// WithCookie returns the sites whose sticky cookie has that name.
func (x *RouteIndex) WithCookie(name string) []*SiteRoutes {
	var out []*SiteRoutes
	for r := range x.byCookie.From(func(r *SiteRoutes) int { return cmp.Compare(r.cookie, name) }) {
		if r.cookie != name {
			break
		}
		out = append(out, r)
	}
	return out
}

// routes is the place of a view's index. It is made when somebody asks first: most views are followed by the next before that.
type routes struct {
	of      map[string]*Site // the sites of the view, and of its copies as long as they have the same
	base    *routes          // nil: there is no index to begin with
	changed map[string]bool  // the sites that may differ from those of base

	once sync.Once
	made atomic.Pointer[RouteIndex]
}

func (r *routes) index() *RouteIndex {
	r.once.Do(func() {
		switch {
		case r.made.Load() != nil:
		case r.base != nil:
			r.made.Store(r.base.index().with(r.of, r.changed))
		default:
			r.made.Store(newRouteIndex(r.of, nil))
		}
	})
	return r.made.Load()
}

// next returns the place of the index of the next view, of whose sites those that are named may differ. Once one index has been
// asked for, those that follow are at hand, and each costs what has changed.
func (r *routes) next(of map[string]*Site, changed map[string]bool) *routes {
	n := &routes{of: of}
	if last := r.made.Load(); last != nil {
		n.made.Store(last.with(of, changed))
	}
	return n
}

// Routes returns the index of the view's sites.
func (v *View) Routes() *RouteIndex {
	switch {
	case v.routes == nil:
		return newRouteIndex(v.Sites, nil)
	case !SameMap(v.routes.of, v.Sites): // a copy of a view that was given other sites
		return newRouteIndex(v.Sites, v.routes.made.Load())
	}
	return v.routes.index()
}

// knownRoutes returns what the view's index has of a site, nil where there is no index yet.
func (v *View) knownRoutes(site string) *SiteRoutes {
	if v.routes == nil {
		return nil
	}
	if r := v.routes.made.Load().of(site); r != nil && r.of == v.Sites[site] {
		return r
	}
	return nil
}
