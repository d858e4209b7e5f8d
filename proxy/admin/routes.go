package admin

import (
	"net/http"
	"time"

	"portico/proxy/admin/access"
)

// route is one line of the table of routes.
type route struct {
	access.Permission        // the pattern of http.ServeMux, and who may ask
	body              int64  // most bytes of a JSON or form body; 0: none is read; bodyStream: the handler reads it
	form              bool   // takes an HTML form with its CSRF field, not JSON
	multipart         bool   // takes a form with a file, whose CSRF field the handler checks
	stream            bool   // lasts as long as it likes: no deadline for the answer as a whole
	action            string // in the audit log, for routes that change something
	decides           bool   // what is read here is decided on, so the view must be up to date; so it is for changes
	here              bool   // a change that needs no catalog, or refuses by itself without one
	page              bool   // a person's browser: without a login it is sent to the login page
	do                func(*Server, *call) error
}

const (
	bodyStream = -1
	bodyJSON   = 1 << 20
	bodyForm   = 64 << 10

	answerTime = 60 * time.Second // to make and send an answer that is not a stream
	bodyTime   = 15 * time.Second // to send a JSON or form body
)

// call is one request on its way through its route.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	rt   *route
	who  *access.Identity // nil on public routes without a credential
	now  time.Time
	body []byte // of routes with body > 0
	from string // client address without port

	dry    bool   // dry_run=1: say what would happen
	action string // in place of the route's, in the audit entry
	object string // what the audit entry names; default: the path's values
	detail string
	quiet  bool // nothing was changed after all: no audit entry
}

// routes says who answers what; who may ask stands in access.Permissions. docs/api.md has the same routes, which a test compares.
func routes() []route {
	return []route{
		{Permission: access.PermissionOf("GET /healthz"), do: (*Server).healthz},
		{Permission: access.PermissionOf("GET /readyz"), do: (*Server).readyz},
		{Permission: access.PermissionOf("GET /metrics"), do: (*Server).metricsText},

		{Permission: access.PermissionOf("POST /v1/login"), body: bodyForm, action: "login", do: (*Server).loginAPI},
		{Permission: access.PermissionOf("GET /v1/whoami"), do: (*Server).whoami},
		{Permission: access.PermissionOf("GET /v1/stats"), do: (*Server).statsJSON},
		{Permission: access.PermissionOf("GET /v1/sessions"), do: (*Server).sessions},
		{Permission: access.PermissionOf("GET /v1/sessions/{site}"), do: (*Server).listSessions},
		{Permission: access.PermissionOf("GET /v1/sessions/{site}/{id}"), do: (*Server).getSession},
		{Permission: access.PermissionOf("POST /v1/sessions/{site}/{id}/end"), body: bodyJSON, action: "end session", here: true, do: (*Server).endSession},
		{Permission: access.PermissionOf("POST /v1/sessions/{site}/{id}/move"), body: bodyJSON, action: "move session", here: true, do: (*Server).moveSession},
		{Permission: access.PermissionOf("GET /v1/explain"), do: (*Server).explain},
		{Permission: access.PermissionOf("GET /v1/requests"), do: (*Server).listExchanges},

		{Permission: access.PermissionOf("GET /v1/sites"), do: (*Server).listSites},
		{Permission: access.PermissionOf("GET /v1/sites/{site}"), do: (*Server).getSite},
		{Permission: access.PermissionOf("POST /v1/sites/{site}"), body: bodyJSON, action: "set site", do: (*Server).setSite},
		{Permission: access.PermissionOf("DELETE /v1/sites/{site}"), action: "remove site", do: (*Server).removeSite},
		{Permission: access.PermissionOf("PUT /v1/sites/{site}/archive"), body: bodyStream, stream: true, action: "deploy", do: (*Server).archive},
		{Permission: access.PermissionOf("GET /v1/sites/{site}/forecast"), decides: true, do: (*Server).forecastDeploy},
		{Permission: access.PermissionOf("GET /v1/sites/{site}/releases"), do: (*Server).releases},
		{Permission: access.PermissionOf("POST /v1/sites/{site}/releases/{release}/drain"), body: bodyJSON, action: "drain release", do: (*Server).drainRelease},
		{Permission: access.PermissionOf("POST /v1/sites/{site}/instances/{instance}/{verb}"), body: bodyJSON, action: "change instance", do: (*Server).instanceVerb},
		{Permission: access.PermissionOf("GET /v1/drains"), do: (*Server).listDrains},
		{Permission: access.PermissionOf("GET /v1/drains/ended"), do: (*Server).endedDrains},
		{Permission: access.PermissionOf("POST /v1/sites/{site}/rollback"), body: bodyJSON, action: "rollback", do: (*Server).rollback},
		{Permission: access.PermissionOf("POST /v1/sites/{site}/cancel"), body: bodyJSON, action: "cancel deploy", do: (*Server).cancelDeploy},
		{Permission: access.PermissionOf("GET /v1/sites/{site}/logs"), stream: true, do: (*Server).logs},

		{Permission: access.PermissionOf("GET /v1/hosts"), do: (*Server).listHosts},
		{Permission: access.PermissionOf("POST /v1/hosts/{host}/share"), body: bodyJSON, action: "share host", do: (*Server).shareHost},
		{Permission: access.PermissionOf("POST /v1/hosts/{host}/unshare"), body: bodyJSON, action: "unshare host", do: (*Server).unshareHost},
		{Permission: access.PermissionOf("POST /v1/hosts/{host}/move"), body: bodyJSON, action: "move host", do: (*Server).moveHost},

		{Permission: access.PermissionOf("GET /v1/deploys"), do: (*Server).listDeploys},
		{Permission: access.PermissionOf("GET /v1/deploys/{deploy}"), do: (*Server).getDeploy},
		{Permission: access.PermissionOf("GET /v1/deploys/{deploy}/events"), stream: true, do: (*Server).deployEvents},

		{Permission: access.PermissionOf("GET /v1/members"), do: (*Server).listMembers},
		{Permission: access.PermissionOf("POST /v1/members/{member}/accept"), body: bodyJSON, action: "accept member", do: (*Server).acceptMember},
		{Permission: access.PermissionOf("POST /v1/members/{member}/refuse"), body: bodyJSON, action: "refuse member", do: (*Server).refuseMember},
		{Permission: access.PermissionOf("POST /v1/members/{member}/revoke"), body: bodyJSON, action: "revoke member", do: (*Server).revokeMember},
		{Permission: access.PermissionOf("POST /v1/members/{member}/drain"), body: bodyJSON, action: "drain member", do: (*Server).drainMember},
		{Permission: access.PermissionOf("POST /v1/members/{member}/ready"), body: bodyJSON, action: "ready member", do: (*Server).readyMember},
		{Permission: access.PermissionOf("POST /v1/members/{member}/maint"), body: bodyJSON, action: "maint member", do: (*Server).maintMember},
		{Permission: access.PermissionOf("POST /v1/members/{member}/labels"), body: bodyJSON, action: "label member", do: (*Server).labelMember},
		{Permission: access.PermissionOf("DELETE /v1/members/{member}"), action: "forget member", do: (*Server).forgetMember},
		{Permission: access.PermissionOf("GET /v1/turned-away"), do: (*Server).turnedAway},

		{Permission: access.PermissionOf("GET /v1/invites"), do: (*Server).listInvites},
		{Permission: access.PermissionOf("POST /v1/invites"), body: bodyJSON, action: "make invite", do: (*Server).makeInvite},
		{Permission: access.PermissionOf("DELETE /v1/invites/{invite}"), action: "delete invite", do: (*Server).deleteInvite},

		{Permission: access.PermissionOf("GET /v1/accounts"), do: (*Server).listAccounts},
		{Permission: access.PermissionOf("POST /v1/accounts"), body: bodyJSON, action: "put account", do: (*Server).putAccount},
		{Permission: access.PermissionOf("DELETE /v1/accounts/{account}"), action: "delete account", do: (*Server).deleteAccount},
		{Permission: access.PermissionOf("GET /v1/tokens"), do: (*Server).listTokens},
		{Permission: access.PermissionOf("POST /v1/tokens"), body: bodyJSON, action: "make token", do: (*Server).makeToken},
		{Permission: access.PermissionOf("DELETE /v1/tokens/{token}"), action: "delete token", do: (*Server).deleteToken},

		{Permission: access.PermissionOf("GET /v1/keys"), do: (*Server).listKeys},
		{Permission: access.PermissionOf("POST /v1/keys/{kind}/rotate"), body: bodyJSON, action: "rotate key", do: (*Server).rotateKeys},

		{Permission: access.PermissionOf("GET /v1/export/haproxy"), do: (*Server).exportHAProxy},
		{Permission: access.PermissionOf("POST /v1/export/haproxy"), body: bodyJSON, action: "export HAProxy bundle", do: (*Server).exportBundle},
		{Permission: access.PermissionOf("GET /v1/audit"), do: (*Server).audit},
		{Permission: access.PermissionOf("GET /v1/backup"), stream: true, do: (*Server).backup},

		{Permission: access.PermissionOf("GET /{$}"), do: (*Server).root},
		{Permission: access.PermissionOf("GET /stats"), page: true, do: (*Server).statsPage},
		{Permission: access.PermissionOf("GET /stats/confirm"), page: true, do: (*Server).confirmPage},
		{Permission: access.PermissionOf("GET /stats/sites/{site}"), page: true, do: (*Server).sitePage},
		{Permission: access.PermissionOf("POST /stats/act"), body: bodyForm, form: true, page: true, action: "page", here: true, do: (*Server).actPage},
		{Permission: access.PermissionOf("POST /stats/deploy"), body: bodyStream, stream: true, multipart: true, page: true, action: "deploy", do: (*Server).deployPage},
		{Permission: access.PermissionOf("GET /login"), do: (*Server).loginPage},
		{Permission: access.PermissionOf("POST /login"), body: bodyForm, form: true, action: "login", do: (*Server).loginForm},
		{Permission: access.PermissionOf("POST /logout"), body: bodyForm, form: true, page: true, here: true, do: (*Server).logoutForm},
		{Permission: access.PermissionOf("GET /assets/{file}"), do: (*Server).asset},
	}
}
