package admin

import (
	"net/http"
	"strings"
	"time"

	"portico/membership/catalog"
)

// route is one line of the table that everything about access is read from.
type route struct {
	pattern   string              // of http.ServeMux, with its method
	need      catalog.AccountRole // the least role; nobody: public
	scope     scope
	body      int64  // most bytes of a JSON or form body; 0: none is read; bodyStream: the handler reads it
	form      bool   // takes an HTML form with its CSRF field, not JSON
	multipart bool   // takes a form with a file, whose CSRF field the handler checks
	stream    bool   // lasts as long as it likes: no deadline for the answer as a whole
	action    string // in the audit log, for routes that change something
	decides   bool   // what is read here is decided on, so the view must be up to date; so it is for changes
	here      bool   // a change that needs no catalog, or refuses by itself without one
	page      bool   // a person's browser: without a login it is sent to the login page
	do        func(*Server, *call) error
}

const (
	bodyStream = -1
	bodyJSON   = 1 << 20
	bodyForm   = 64 << 10

	answerTime = 60 * time.Second // to make and send an answer that is not a stream
	bodyTime   = 15 * time.Second // to send a JSON or form body
)

func (rt *route) method() string {
	m, _, _ := strings.Cut(rt.pattern, " ")
	return m
}

func (rt *route) changes() bool { return changes(rt.method()) }

// call is one request on its way through its route.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	rt   *route
	who  *identity // nil on public routes without a credential
	now  time.Time
	body []byte // of routes with body > 0
	from string // client address without port

	dry    bool   // dry_run=1: say what would happen
	action string // in place of the route's, in the audit entry
	object string // what the audit entry names; default: the path's values
	detail string
	quiet  bool // nothing was changed after all: no audit entry
}

// routes is the table. docs/api.md has the same routes, which a test compares.
func routes() []route {
	const viewer, deployer, operator, admin = catalog.RoleViewer, catalog.RoleDeployer, catalog.RoleOperator, catalog.RoleAdmin
	return []route{
		{pattern: "GET /healthz", need: nobody, do: (*Server).healthz},
		{pattern: "GET /readyz", need: nobody, do: (*Server).readyz},
		{pattern: "GET /metrics", need: viewer, scope: scopeCluster, do: (*Server).metricsText},

		{pattern: "POST /v1/login", need: nobody, body: bodyForm, action: "login", do: (*Server).loginAPI},
		{pattern: "GET /v1/whoami", need: viewer, do: (*Server).whoami},
		{pattern: "GET /v1/stats", need: viewer, do: (*Server).statsJSON},
		{pattern: "GET /v1/sessions", need: viewer, do: (*Server).sessions},
		{pattern: "GET /v1/sessions/{site}", need: viewer, scope: scopeSite, do: (*Server).listSessions},
		{pattern: "GET /v1/sessions/{site}/{id}", need: viewer, scope: scopeSite, do: (*Server).getSession},
		{pattern: "POST /v1/sessions/{site}/{id}/end", need: operator, scope: scopeSite, body: bodyJSON, action: "end session", here: true, do: (*Server).endSession},
		{pattern: "POST /v1/sessions/{site}/{id}/move", need: operator, scope: scopeSite, body: bodyJSON, action: "move session", here: true, do: (*Server).moveSession},
		{pattern: "GET /v1/explain", need: viewer, scope: scopeCluster, do: (*Server).explain},
		{pattern: "GET /v1/requests", need: deployer, do: (*Server).listExchanges},

		{pattern: "GET /v1/sites", need: viewer, do: (*Server).listSites},
		{pattern: "GET /v1/sites/{site}", need: viewer, scope: scopeSite, do: (*Server).getSite},
		{pattern: "POST /v1/sites/{site}", need: operator, scope: scopeSite, body: bodyJSON, action: "set site", do: (*Server).setSite},
		{pattern: "DELETE /v1/sites/{site}", need: admin, scope: scopeSite, action: "remove site", do: (*Server).removeSite},
		{pattern: "PUT /v1/sites/{site}/archive", need: deployer, scope: scopeSite, body: bodyStream, stream: true, action: "deploy", do: (*Server).archive},
		{pattern: "GET /v1/sites/{site}/forecast", need: viewer, scope: scopeSite, decides: true, do: (*Server).forecastDeploy},
		{pattern: "GET /v1/sites/{site}/releases", need: viewer, scope: scopeSite, do: (*Server).releases},
		{pattern: "POST /v1/sites/{site}/releases/{release}/drain", need: operator, scope: scopeSite, body: bodyJSON, action: "drain release", do: (*Server).drainRelease},
		{pattern: "POST /v1/sites/{site}/instances/{instance}/{verb}", need: operator, scope: scopeSite, body: bodyJSON, action: "change instance", do: (*Server).instanceVerb},
		{pattern: "GET /v1/drains", need: viewer, do: (*Server).listDrains},
		{pattern: "GET /v1/drains/ended", need: viewer, do: (*Server).endedDrains},
		{pattern: "POST /v1/sites/{site}/rollback", need: deployer, scope: scopeSite, body: bodyJSON, action: "rollback", do: (*Server).rollback},
		{pattern: "POST /v1/sites/{site}/cancel", need: deployer, scope: scopeSite, body: bodyJSON, action: "cancel deploy", do: (*Server).cancelDeploy},
		{pattern: "GET /v1/sites/{site}/logs", need: deployer, scope: scopeSite, stream: true, do: (*Server).logs},

		{pattern: "GET /v1/hosts", need: viewer, do: (*Server).listHosts},
		{pattern: "POST /v1/hosts/{host}/share", need: operator, scope: scopeCluster, body: bodyJSON, action: "share host", do: (*Server).shareHost},
		{pattern: "POST /v1/hosts/{host}/unshare", need: operator, scope: scopeCluster, body: bodyJSON, action: "unshare host", do: (*Server).unshareHost},
		{pattern: "POST /v1/hosts/{host}/move", need: operator, scope: scopeCluster, body: bodyJSON, action: "move host", do: (*Server).moveHost},

		{pattern: "GET /v1/deploys", need: viewer, do: (*Server).listDeploys},
		{pattern: "GET /v1/deploys/{deploy}", need: viewer, do: (*Server).getDeploy},
		{pattern: "GET /v1/deploys/{deploy}/events", need: viewer, stream: true, do: (*Server).deployEvents},

		{pattern: "GET /v1/members", need: viewer, scope: scopeCluster, do: (*Server).listMembers},
		{pattern: "POST /v1/members/{member}/accept", need: admin, scope: scopeCluster, body: bodyJSON, action: "accept member", do: (*Server).acceptMember},
		{pattern: "POST /v1/members/{member}/refuse", need: admin, scope: scopeCluster, body: bodyJSON, action: "refuse member", do: (*Server).refuseMember},
		{pattern: "POST /v1/members/{member}/revoke", need: admin, scope: scopeCluster, body: bodyJSON, action: "revoke member", do: (*Server).revokeMember},
		{pattern: "POST /v1/members/{member}/drain", need: operator, scope: scopeCluster, body: bodyJSON, action: "drain member", do: (*Server).drainMember},
		{pattern: "POST /v1/members/{member}/ready", need: operator, scope: scopeCluster, body: bodyJSON, action: "ready member", do: (*Server).readyMember},
		{pattern: "POST /v1/members/{member}/maint", need: operator, scope: scopeCluster, body: bodyJSON, action: "maint member", do: (*Server).maintMember},
		{pattern: "POST /v1/members/{member}/labels", need: admin, scope: scopeCluster, body: bodyJSON, action: "label member", do: (*Server).labelMember},
		{pattern: "DELETE /v1/members/{member}", need: admin, scope: scopeCluster, action: "forget member", do: (*Server).forgetMember},
		{pattern: "GET /v1/turned-away", need: viewer, scope: scopeCluster, do: (*Server).turnedAway},

		{pattern: "GET /v1/invites", need: admin, scope: scopeCluster, do: (*Server).listInvites},
		{pattern: "POST /v1/invites", need: admin, scope: scopeCluster, body: bodyJSON, action: "make invite", do: (*Server).makeInvite},
		{pattern: "DELETE /v1/invites/{invite}", need: admin, scope: scopeCluster, action: "delete invite", do: (*Server).deleteInvite},

		{pattern: "GET /v1/accounts", need: admin, scope: scopeCluster, do: (*Server).listAccounts},
		{pattern: "POST /v1/accounts", need: admin, scope: scopeCluster, body: bodyJSON, action: "put account", do: (*Server).putAccount},
		{pattern: "DELETE /v1/accounts/{account}", need: admin, scope: scopeCluster, action: "delete account", do: (*Server).deleteAccount},
		{pattern: "GET /v1/tokens", need: viewer, do: (*Server).listTokens},
		{pattern: "POST /v1/tokens", need: viewer, body: bodyJSON, action: "make token", do: (*Server).makeToken},
		{pattern: "DELETE /v1/tokens/{token}", need: viewer, action: "delete token", do: (*Server).deleteToken},

		{pattern: "GET /v1/keys", need: admin, scope: scopeCluster, do: (*Server).listKeys},
		{pattern: "POST /v1/keys/{kind}/rotate", need: admin, scope: scopeCluster, body: bodyJSON, action: "rotate key", do: (*Server).rotateKeys},

		{pattern: "GET /v1/export/haproxy", need: viewer, scope: scopeCluster, do: (*Server).exportHAProxy},
		{pattern: "POST /v1/export/haproxy", need: admin, scope: scopeCluster, body: bodyJSON, action: "export HAProxy bundle", do: (*Server).exportBundle},
		{pattern: "GET /v1/audit", need: admin, scope: scopeCluster, do: (*Server).audit},
		{pattern: "GET /v1/backup", need: admin, scope: scopeCluster, stream: true, do: (*Server).backup},

		{pattern: "GET /{$}", need: nobody, do: (*Server).root},
		{pattern: "GET /stats", need: viewer, page: true, do: (*Server).statsPage},
		{pattern: "GET /stats/confirm", need: viewer, page: true, do: (*Server).confirmPage},
		{pattern: "GET /stats/sites/{site}", need: viewer, scope: scopeSite, page: true, do: (*Server).sitePage},
		{pattern: "POST /stats/act", need: deployer, body: bodyForm, form: true, page: true, action: "page", here: true, do: (*Server).actPage},
		{pattern: "POST /stats/deploy", need: deployer, body: bodyStream, stream: true, multipart: true, page: true, action: "deploy", do: (*Server).deployPage},
		{pattern: "GET /login", need: nobody, do: (*Server).loginPage},
		{pattern: "POST /login", need: nobody, body: bodyForm, form: true, action: "login", do: (*Server).loginForm},
		{pattern: "POST /logout", need: viewer, body: bodyForm, form: true, page: true, here: true, do: (*Server).logoutForm},
		{pattern: "GET /assets/{file}", need: nobody, do: (*Server).asset},
	}
}
