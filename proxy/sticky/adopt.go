package sticky

import (
	"strings"

	"portico/balancer"
	"portico/conf/sites"
	"portico/internal/alias"
)

// On the day of a move visitors bring cookies that name their server in the words of the
// balancer before: a route behind the application's token (mod_jk, mod_proxy_balancer), a
// name before it (HAProxy's "cookie … prefix"), or a cookie of its own (HAProxy's "insert",
// IIS ARR). Whoever has no cookie of ours, and no token that was learned, goes where they lead.

// FormerName is what the balancer before called an instance, in one place.
type FormerName struct {
	Cookie string // name, where only this cookie with just this value means the instance; "": a route
	Value  string
	ID     string // of the instance
}

// Adoption is what a site knows of the balancer before. It is immutable.
type Adoption struct {
	names  []string                      // of cookies in whose values a route may stand
	routes map[string]*balancer.Upstream // by route
	exact  []exactCookie

	// trim is (*adoption).prefix: made once, because a request allocates nothing.
	Trim func(name, value []byte) int
}

type exactCookie struct {
	name, value string
	up          *balancer.Upstream
}

// NewAdoption returns nil for a site that adopts nobody.
func NewAdoption(names []string, former []FormerName, pool *balancer.Pool) *Adoption {
	if len(former) == 0 {
		return nil
	}
	a := &Adoption{names: names, routes: map[string]*balancer.Upstream{}}
	for _, c := range former {
		u := pool.Upstream(c.ID)
		switch {
		case u == nil:
		case c.Cookie != "":
			a.exact = append(a.exact, exactCookie{c.Cookie, c.Value, u})
		case len(names) > 0 && a.routes[c.Value] == nil:
			a.routes[c.Value] = u
		}
	}
	if len(a.routes) == 0 && len(a.exact) == 0 {
		return nil
	}
	a.Trim = a.prefix
	return a
}

// AdoptNames reads session.adopt.
func AdoptNames(text string) []string {
	if text == sites.AdoptNone {
		return nil
	}
	return strings.Fields(text)
}

// Find returns the instance that a request's cookies or the token in its target name in the words of the
// balancer before, and what said so; nil: none.
func (a *Adoption) Find(p *Profile, f Fields, target string) (up *balancer.Upstream, by string) {
	for i := range a.exact {
		if e := &a.exact[i]; unquoted(f.CookieValue(e.name)) == e.value {
			return e.up, e.name
		}
	}
	for _, name := range a.names {
		if u := a.named(unquoted(f.CookieValue(name))); u != nil {
			return u, name
		}
	}
	if len(a.names) == 0 {
		return nil, ""
	}
	for i := range p.Places {
		if place := &p.Places[i]; place.route && place.Kind == sites.PlaceParameter {
			if u := a.named(place.inTarget(target)); u != nil {
				return u, place.Name
			}
		}
	}
	return nil, ""
}

// named returns the instance whose route stands in a value: all of it, before the first "~" (HAProxy's prefix) or
// "|" (its dates), or behind the first "." (mod_jk, mod_proxy_balancer); there several in a row are asked in turn,
// as Undertow lists them.
func (a *Adoption) named(value string) *balancer.Upstream {
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
func (a *Adoption) prefix(name, value []byte) int {
	i := strings.IndexByte(alias.String(value), '~')
	if i <= 0 || a.routes[alias.String(value[:i])] == nil {
		return 0
	}
	for _, n := range a.names {
		if n == alias.String(name) {
			return i + 1
		}
	}
	return 0
}

func unquoted(v string) string { return strings.Trim(v, `"`) }
