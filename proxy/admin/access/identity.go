package access

import (
	"slices"
	"time"

	"portico/membership/catalog"
)

// Rank orders the roles; each includes those before it. An unknown role has
// none.
func Rank(r catalog.AccountRole) int { return max(0, r.Rank()) }

// Identity is who makes a request.
type Identity struct {
	Account string
	Role    catalog.AccountRole
	Sites   []string       // a deployer's scope; empty: all
	login   *login         // the page's login; nil with a token
	Token   *catalog.Token // nil with a login
	safe    bool           // by Basic, which browsers send unasked: may not change anything
}

// Sees reports whether the identity's scope holds a site.
func (i *Identity) Sees(site string) bool {
	return len(i.Sites) == 0 || slices.Contains(i.Sites, site)
}

// Ends returns when the identity's credential ends by itself; zero: never.
func (i *Identity) Ends() time.Time {
	switch {
	case i.login != nil:
		return i.login.Begun.Add(loginLife)
	case i.Token != nil:
		return i.Token.Expires
	}
	return time.Time{}
}

// LoggedIn reports whether the identity comes from the page's login, and not from a token.
func (i *Identity) LoggedIn() bool { return i.login != nil }
