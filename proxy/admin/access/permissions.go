package access

import (
	"net/http"
	"strings"

	"portico/internal/refusal"
	"portico/membership/catalog"
)

// Nobody is the need of a route that is public.
const Nobody catalog.AccountRole = ""

// Permission says who may use a route: of docs/api.md's columns, route and role.
type Permission struct {
	Pattern string              // of http.ServeMux, with its method
	Need    catalog.AccountRole // the least role; Nobody: public
	scope   scope
}

// scope says how far a route reaches, for accounts that may see some sites only.
type scope int

const (
	own        scope = iota // about the caller, or filtered by the handler through Sees
	oneSite                 // about the site in the path
	everything              // about the whole cluster: closed to accounts whose scope is some sites
)

// Permissions says of each route who may use it, such as who may accept a member. Nothing else decides that: the
// page asks for the permission of the route that does the same.
func Permissions() []Permission {
	const viewer, deployer, operator, admin = catalog.RoleViewer, catalog.RoleDeployer, catalog.RoleOperator, catalog.RoleAdmin
	return []Permission{
		{"GET /healthz", Nobody, own},
		{"GET /readyz", Nobody, own},
		{"GET /metrics", viewer, everything},

		{"POST /v1/login", Nobody, own},
		{"GET /v1/whoami", viewer, own},
		{"GET /v1/stats", viewer, own},
		{"GET /v1/sessions", viewer, own},
		{"GET /v1/sessions/{site}", viewer, oneSite},
		{"GET /v1/sessions/{site}/{id}", viewer, oneSite},
		{"POST /v1/sessions/{site}/{id}/end", operator, oneSite},
		{"POST /v1/sessions/{site}/{id}/move", operator, oneSite},
		{"GET /v1/explain", viewer, everything},
		{"GET /v1/requests", deployer, own},

		{"GET /v1/sites", viewer, own},
		{"GET /v1/sites/{site}", viewer, oneSite},
		{"POST /v1/sites/{site}", operator, oneSite},
		{"DELETE /v1/sites/{site}", admin, oneSite},
		{"PUT /v1/sites/{site}/archive", deployer, oneSite},
		{"GET /v1/sites/{site}/forecast", viewer, oneSite},
		{"GET /v1/sites/{site}/releases", viewer, oneSite},
		{"POST /v1/sites/{site}/releases/{release}/drain", operator, oneSite},
		{"POST /v1/sites/{site}/instances/{instance}/{verb}", operator, oneSite},
		{"GET /v1/drains", viewer, own},
		{"GET /v1/drains/ended", viewer, own},
		{"POST /v1/sites/{site}/rollback", deployer, oneSite},
		{"POST /v1/sites/{site}/cancel", deployer, oneSite},
		{"GET /v1/sites/{site}/logs", deployer, oneSite},

		{"GET /v1/hosts", viewer, own},
		{"POST /v1/hosts/{host}/share", operator, everything},
		{"POST /v1/hosts/{host}/unshare", operator, everything},
		{"POST /v1/hosts/{host}/move", operator, everything},

		{"GET /v1/deploys", viewer, own},
		{"GET /v1/deploys/{deploy}", viewer, own},
		{"GET /v1/deploys/{deploy}/events", viewer, own},

		{"GET /v1/members", viewer, everything},
		{"POST /v1/members/{member}/accept", admin, everything},
		{"POST /v1/members/{member}/refuse", admin, everything},
		{"POST /v1/members/{member}/revoke", admin, everything},
		{"POST /v1/members/{member}/drain", operator, everything},
		{"POST /v1/members/{member}/ready", operator, everything},
		{"POST /v1/members/{member}/maint", operator, everything},
		{"POST /v1/members/{member}/labels", admin, everything},
		{"DELETE /v1/members/{member}", admin, everything},
		{"GET /v1/turned-away", viewer, everything},

		{"GET /v1/invites", admin, everything},
		{"POST /v1/invites", admin, everything},
		{"DELETE /v1/invites/{invite}", admin, everything},

		{"GET /v1/accounts", admin, everything},
		{"POST /v1/accounts", admin, everything},
		{"DELETE /v1/accounts/{account}", admin, everything},
		{"GET /v1/tokens", viewer, own},
		{"POST /v1/tokens", viewer, own},
		{"DELETE /v1/tokens/{token}", viewer, own},

		{"GET /v1/keys", admin, everything},
		{"POST /v1/keys/{kind}/rotate", admin, everything},

		{"GET /v1/export/haproxy", viewer, everything},
		{"POST /v1/export/haproxy", admin, everything},
		{"GET /v1/audit", admin, everything},
		{"GET /v1/backup", admin, everything},

		{"GET /{$}", Nobody, own},
		{"GET /stats", viewer, own},
		{"GET /stats/confirm", viewer, own},
		{"GET /stats/sites/{site}", viewer, oneSite},
		{"POST /stats/act", deployer, own},
		{"POST /stats/deploy", deployer, own},
		{"GET /login", Nobody, own},
		{"POST /login", Nobody, own},
		{"POST /logout", viewer, own},
		{"GET /assets/{file}", Nobody, own},
	}
}

// permissions is the table by pattern.
var permissions = func() map[string]Permission {
	m := map[string]Permission{}
	for _, p := range Permissions() {
		m[p.Pattern] = p
	}
	return m
}()

// PermissionOf returns the permission of a route.
func PermissionOf(pattern string) Permission {
	p, ok := permissions[pattern]
	if !ok {
		panic("BUG: access.Permissions does not say who may use " + pattern)
	}
	return p
}

// Changes reports whether the route may change state.
func (p *Permission) Changes() bool {
	method, _, _ := strings.Cut(p.Pattern, " ")
	return changes(method)
}

// May returns nil, or why who may not use the route for a site: the one permission check.
func (p *Permission) May(who *Identity, site string) *refusal.Error {
	switch {
	case p.Need == Nobody:
		return nil
	case who == nil:
		return refusal.New(http.StatusUnauthorized, "unauthorized", "send Authorization: Bearer with a token, or log in", "this needs a credential")
	case Rank(who.Role) < Rank(p.Need):
		return refusal.Forbidden("ask an administrator for an account with that role", "this needs the role %s, and %q has %s", p.Need, who.Account, who.Role)
	case p.scope == oneSite && !who.Sees(site):
		return refusal.Forbidden("", "the scope of %q does not hold the site %q", who.Account, site)
	case p.scope == everything && len(who.Sites) > 0:
		return refusal.Forbidden("", "the scope of %q is some sites, and this concerns the whole cluster", who.Account)
	case p.Changes() && who.safe:
		return refusal.Forbidden("send the token as Bearer", "Basic credentials may read only")
	}
	return nil
}

// May asks the permission of the route with a pattern.
func May(who *Identity, pattern, site string) *refusal.Error {
	p := PermissionOf(pattern)
	return p.May(who, site)
}
