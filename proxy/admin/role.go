package admin

import (
	"slices"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// nobody is the need of a public route.
const nobody catalog.AccountRole = ""

// rank orders the roles; each includes those before it. An unknown role has
// none.
func rank(r catalog.AccountRole) int { return max(0, r.Rank()) }

// scope says how far a route reaches, for accounts that may see some sites only.
type scope int

const (
	scopeSelf    scope = iota // about the caller, or filtered by the handler through sees
	scopeSite                 // about the site in the path
	scopeCluster              // about everything: closed to accounts whose scope is some sites
)

// identity is who makes a request.
type identity struct {
	account string
	role    catalog.AccountRole
	sites   []string       // a deployer's scope; empty: all
	login   *login         // the page's login; nil with a token
	token   *catalog.Token // nil with a login
	safe    bool           // by Basic, which browsers send unasked: may not change anything
}

// sees reports whether the identity's scope holds a site.
func (i *identity) sees(site string) bool {
	return len(i.sites) == 0 || slices.Contains(i.sites, site)
}

// ends returns when the identity's credential ends by itself; zero: never.
func (i *identity) ends() time.Time {
	switch {
	case i.login != nil:
		return i.login.Begun.Add(loginLife)
	case i.token != nil:
		return i.token.Expires
	}
	return time.Time{}
}

// permit is the one permission check: nil, or why who may not use rt for site.
func permit(who *identity, rt *route, site string) *api.Error {
	switch {
	case rt.need == nobody:
		return nil
	case who == nil:
		return api.Failf(401, "unauthorized", "send Authorization: Bearer with a token, or log in", "this needs a credential")
	case rank(who.role) < rank(rt.need):
		return api.Forbidden("ask an administrator for an account with that role", "this needs the role %s, and %q has %s", rt.need, who.account, who.role)
	case rt.scope == scopeSite && !who.sees(site):
		return api.Forbidden("", "the scope of %q does not hold the site %q", who.account, site)
	case rt.scope == scopeCluster && len(who.sites) > 0:
		return api.Forbidden("", "the scope of %q is some sites, and this concerns the whole cluster", who.account)
	case rt.changes() && who.safe:
		return api.Forbidden("send the token as Bearer", "Basic credentials may read only")
	}
	return nil
}
