package proxy

import (
	"strings"

	"portico/balancer"
	"portico/conf"
	"portico/membership/catalog"
)

// On the day of a move visitors bring cookies that name their server in the words of the
// balancer before: a route behind the application's token (mod_jk, mod_proxy_balancer), a
// name before it (HAProxy's "cookie … prefix"), or a cookie of its own (HAProxy's "insert",
// IIS ARR). Whoever has no cookie of ours, and no token that was learned, goes where they lead.

// claim is one way in which the balancer before named an instance.
type claim struct {
	cookie string // name, where only this cookie with just this value means the instance; "": a route
	value  string
	id     string // of the instance
}

// staticClaims are what a site of the configuration file says of its upstreams.
func staticClaims(c conf.Site) []claim {
	var list []claim
	for _, u := range c.Upstreams {
		id := UpstreamID(c.Name, u.Name)
		list = append(list, claim{value: or(u.Route, u.Name), id: id})
		if name, value, ok := strings.Cut(u.Cookie, ":"); ok {
			list = append(list, claim{cookie: name, value: value, id: id})
		}
	}
	return list
}

// memberClaims are the routes of an instance that an agent runs: its server's name and labels.
func memberClaims(m *catalog.Member, id string) []claim {
	list := []claim{{value: m.Name, id: id}}
	for _, l := range m.Labels {
		list = append(list, claim{value: l, id: id})
	}
	return list
}

// adoption is what a site knows of the balancer before. It is immutable.
type adoption struct {
	names  []string                      // of cookies in whose values a route may stand
	routes map[string]*balancer.Upstream // by route
	exact  []exactCookie

	// trim is (*adoption).prefix: made once, because a request allocates nothing.
	trim func(name, value []byte) int
}

type exactCookie struct {
	name, value string
	up          *balancer.Upstream
}

// newAdoption returns nil for a site that adopts nobody.
func newAdoption(names []string, claims []claim, pool *balancer.Pool) *adoption {
	if len(claims) == 0 {
		return nil
	}
	a := &adoption{names: names, routes: map[string]*balancer.Upstream{}}
	for _, c := range claims {
		u := pool.Upstream(c.id)
		switch {
		case u == nil:
		case c.cookie != "":
			a.exact = append(a.exact, exactCookie{c.cookie, c.value, u})
		case len(names) > 0 && a.routes[c.value] == nil:
			a.routes[c.value] = u
		}
	}
	if len(a.routes) == 0 && len(a.exact) == 0 {
		return nil
	}
	a.trim = a.prefix
	return a
}

// adoptNames reads session.adopt.
func adoptNames(text string) []string {
	if text == catalog.AdoptNone {
		return nil
	}
	return strings.Fields(text)
}

// find returns the instance that a request's cookies or the token in its target name in the words of the
// balancer before, and what said so; nil: none.
func (a *adoption) find(p *profile, f fields, target string) (up *balancer.Upstream, by string) {
	for i := range a.exact {
		if e := &a.exact[i]; unquoted(f.cookie(e.name)) == e.value {
			return e.up, e.name
		}
	}
	for _, name := range a.names {
		if u := a.named(unquoted(f.cookie(name))); u != nil {
			return u, name
		}
	}
	if len(a.names) == 0 {
		return nil, ""
	}
	for i := range p.places {
		if place := &p.places[i]; place.route && place.kind == "parameter" {
			if u := a.named(place.inTarget(target)); u != nil {
				return u, place.name
			}
		}
	}
	return nil, ""
}

// named returns the instance whose route stands in a value: all of it, before the first "~" (HAProxy's prefix) or
// "|" (its dates), or behind the first "." (mod_jk, mod_proxy_balancer); there several in a row are asked in turn,
// as Undertow lists them.
func (a *adoption) named(value string) *balancer.Upstream {
	if value == "" {
		return nil
	}
	if u := a.routes[value]; u != nil {
		return u
	}
	if i := strings.IndexAny(value, "~|"); i > 0 {
		return a.routes[value[:i]]
	}
	_, rest, _ := strings.Cut(value, ".")
	if u := a.routes[rest]; u != nil {
		return u
	}
	for route := range strings.SplitSeq(rest, ".") {
		if u := a.routes[route]; u != nil {
			return u
		}
	}
	return nil
}

// prefix returns the length of what HAProxy's "cookie … prefix" has put before a cookie's value: it took that off
// before the application saw it, and browsers bring it for as long as the cookie lives.
func (a *adoption) prefix(name, value []byte) int {
	i := strings.IndexByte(text(value), '~')
	if i <= 0 || a.routes[text(value[:i])] == nil {
		return 0
	}
	for _, n := range a.names {
		if n == text(name) {
			return i + 1
		}
	}
	return 0
}

func unquoted(v string) string { return strings.Trim(v, `"`) }

// adopt leads a visitor without a cookie of ours to the instance that the balancer before kept them on. It
// returns the cookie that names it, and what said so.
func (st *site) adopt(app uint64, f fields, target string) (cookie []byte, by string) {
	a := st.siteState.adoption.Load()
	if a == nil || app != 0 && st.siteState.pool.Knows(app) {
		return nil, ""
	}
	u, by := a.find(&st.profile, f, target)
	if u == nil {
		return nil, ""
	}
	return u.Token().Append(nil), by
}
