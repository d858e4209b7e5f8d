package admin

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strconv"
	"time"

	"portico/deployhook"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/recent"
)

// The verbs of Act.
const (
	VerbAccept = "accept" // a pending member becomes part of the cluster
	VerbRefuse = "refuse" // a pending member is turned away
	VerbRevoke = "revoke" // a member is cut off for good
	VerbDrain  = "drain"  // keeps its sessions, takes no new ones
	VerbReady  = "ready"  // takes new sessions
	VerbMaint  = "maint"  // takes nothing

	VerbLabels = "labels" // an application server gets other labels
)

// Whoami returns whose token this is.
func (c *Client) Whoami(ctx context.Context) (Whoami, error) {
	var out Whoami
	return out, c.call(ctx, "GET", "/v1/whoami", nil, nil, &out)
}

// Login turns an account's password into a token.
func (c *Client) Login(ctx context.Context, r LoginRequest) (TokenAnswer, error) {
	var out TokenAnswer
	return out, c.call(ctx, "POST", "/v1/login", nil, r, &out)
}

// Stats returns what the proxy counts.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	var out Stats
	return out, c.call(ctx, "GET", "/v1/stats", nil, nil, &out)
}

// StatsCSV writes HAProxy's CSV to w.
func (c *Client) StatsCSV(ctx context.Context, w io.Writer) error {
	_, err := c.stream(ctx, "/stats;csv", nil, w)
	return err
}

// Sessions returns the live sessions of each instance; an empty site means all.
func (c *Client) Sessions(ctx context.Context, site string) ([]SessionCount, error) {
	var out []SessionCount
	return out, c.call(ctx, "GET", "/v1/sessions", params("site", site), nil, &out)
}

// SessionQuery says which sessions are asked for. Empty fields match all.
type SessionQuery struct {
	Member, Instance, Release, ID string        // of the last three, the beginning will do
	Cookie                        string        // the session that a sticky cookie names: its value, or a whole Cookie field
	Token                         string        // the session that the application's own token names
	Idle                          time.Duration // not used for this long
	Limit                         int           // 0: 100
}

// ListSessions returns sessions of a site, the most recently used first.
func (c *Client) ListSessions(ctx context.Context, site string, q SessionQuery) (SessionList, error) {
	var out SessionList
	query := params("member", q.Member, "instance", q.Instance, "release", q.Release, "id", q.ID, "cookie", q.Cookie, "token", q.Token)
	if q.Idle > 0 {
		query.Set("idle", q.Idle.String())
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	return out, c.call(ctx, "GET", "/v1/sessions/"+segment(site), query, nil, &out)
}

// EndSession ends a session: its visitor begins anew with the next request.
func (c *Client) EndSession(ctx context.Context, site, id string) (SessionInfo, error) {
	var out SessionInfo
	return out, c.call(ctx, "POST", "/v1/sessions/"+segment(site)+"/"+segment(id)+"/end", nil, struct{}{}, &out)
}

// MoveSession has a session's next request placed on another instance.
func (c *Client) MoveSession(ctx context.Context, site, id string) (SessionInfo, error) {
	var out SessionInfo
	return out, c.call(ctx, "POST", "/v1/sessions/"+segment(site)+"/"+segment(id)+"/move", nil, struct{}{}, &out)
}

// EndedDrains returns how the last drains ended, the latest first.
func (c *Client) EndedDrains(ctx context.Context) ([]DrainOutcome, error) {
	var out []DrainOutcome
	return out, c.call(ctx, "GET", "/v1/drains/ended", nil, nil, &out)
}

// CancelDeploy ends the running deploy of a site; the release before it stays.
func (c *Client) CancelDeploy(ctx context.Context, site string) (catalog.Deploy, error) {
	var out catalog.Deploy
	return out, c.call(ctx, "POST", "/v1/sites/"+segment(site)+"/cancel", nil, struct{}{}, &out)
}

// Hosts returns who has which hosts.
func (c *Client) Hosts(ctx context.Context) ([]HostInfo, error) {
	var out []HostInfo
	return out, c.call(ctx, "GET", "/v1/hosts", nil, nil, &out)
}

// ChangeHost does a verb (share, unshare, move) on a host for a site.
func (c *Client) ChangeHost(ctx context.Context, verb, host, site string) ([]HostInfo, error) {
	var out []HostInfo
	return out, c.call(ctx, "POST", "/v1/hosts/"+segment(host)+"/"+verb, nil, HostRequest{Site: site}, &out)
}

// Keys returns the ages of the keys that members share.
func (c *Client) Keys(ctx context.Context) ([]KeyInfo, error) {
	var out []KeyInfo
	return out, c.call(ctx, "GET", "/v1/keys", nil, nil, &out)
}

// RotateKey replaces a key that members share: KeySession, KeyTickets or KeyGossip.
func (c *Client) RotateKey(ctx context.Context, kind string) ([]KeyInfo, error) {
	var out []KeyInfo
	return out, c.call(ctx, "POST", "/v1/keys/"+segment(kind)+"/rotate", nil, struct{}{}, &out)
}

// TurnedAway returns the machines that the proxy turned away lately, the latest
// first.
func (c *Client) TurnedAway(ctx context.Context) ([]membership.Turned, error) {
	var out []membership.Turned
	return out, c.call(ctx, "GET", "/v1/turned-away", nil, nil, &out)
}

// ForgetMember removes the record of a refused, revoked or pending machine.
func (c *Client) ForgetMember(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/members/"+segment(name), nil, nil, nil)
}

// Explain returns, as JSON, where a request would go and why.
func (c *Client) Explain(ctx context.Context, q ExplainQuery) (json.RawMessage, error) {
	var out json.RawMessage
	query := params("url", q.URL, "method", q.Method, "cookie", q.Cookie, "from", q.From)
	for _, h := range q.Header {
		query.Add("header", h)
	}
	return out, c.call(ctx, "GET", "/v1/explain", query, nil, &out)
}

// Exchanges returns what the proxy remembers of requests that have ended, the
// latest first.
func (c *Client) Exchanges(ctx context.Context, q ExchangeQuery) ([]recent.Exchange, error) {
	var out []recent.Exchange
	query := params("site", q.Site, "id", q.ID, "client", q.Client)
	if q.Failed {
		query.Set("failed", "1")
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	return out, c.call(ctx, "GET", "/v1/requests", query, nil, &out)
}

// Sites returns all sites that the token may see.
func (c *Client) Sites(ctx context.Context) ([]SiteInfo, error) {
	var out []SiteInfo
	return out, c.call(ctx, "GET", "/v1/sites", nil, nil, &out)
}

// Site returns one site.
func (c *Client) Site(ctx context.Context, name string) (SiteInfo, error) {
	var out SiteInfo
	return out, c.call(ctx, "GET", "/v1/sites/"+segment(name), nil, nil, &out)
}

// SetSite merges a JSON object with any subset of sites.Settings into what
// operators have set for a site; a field of null goes back to the archive's.
func (c *Client) SetSite(ctx context.Context, name string, override json.RawMessage) (SiteInfo, error) {
	var out SiteInfo
	return out, c.call(ctx, "POST", "/v1/sites/"+segment(name), nil, override, &out)
}

// ForecastSet says where SetSite would move the site.
func (c *Client) ForecastSet(ctx context.Context, name string, override json.RawMessage) (Forecast, error) {
	var out Forecast
	return out, c.call(ctx, "POST", "/v1/sites/"+segment(name), dryRun(), override, &out)
}

// RemoveSite takes a site away from all application servers.
func (c *Client) RemoveSite(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/sites/"+segment(name), nil, nil, nil)
}

// ForecastRemove says what RemoveSite would cut.
func (c *Client) ForecastRemove(ctx context.Context, name string) (Forecast, error) {
	var out Forecast
	return out, c.call(ctx, "DELETE", "/v1/sites/"+segment(name), dryRun(), nil, &out)
}

// Releases returns the releases of a site that can be rolled back to, newest
// first.
func (c *Client) Releases(ctx context.Context, site string) ([]ReleaseInfo, error) {
	var out []ReleaseInfo
	return out, c.call(ctx, "GET", "/v1/sites/"+segment(site)+"/releases", nil, nil, &out)
}

// Rollback begins a deploy of a former release; empty means the previous one.
func (c *Client) Rollback(ctx context.Context, site, release string, noPin bool) (catalog.Deploy, error) {
	var out catalog.Deploy
	return out, c.call(ctx, "POST", "/v1/sites/"+segment(site)+"/rollback", nil, RollbackRequest{Release: release, NoPin: noPin}, &out)
}

// ForecastRollback says which sessions would stay on the present release, or with
// noPin which would be cut.
func (c *Client) ForecastRollback(ctx context.Context, site, release string, noPin bool) (Forecast, error) {
	var out Forecast
	return out, c.call(ctx, "POST", "/v1/sites/"+segment(site)+"/rollback", dryRun(), RollbackRequest{Release: release, NoPin: noPin}, &out)
}

// ForecastDeploy says which sessions a deploy of site would leave on the
// present release, or with noPin which it would cut.
func (c *Client) ForecastDeploy(ctx context.Context, site string, noPin bool) (Forecast, error) {
	var out Forecast
	query := url.Values{}
	if noPin {
		query.Set("no_pin", "1")
	}
	return out, c.call(ctx, "GET", "/v1/sites/"+segment(site)+"/forecast", query, nil, &out)
}

// Deploys returns the last deploys, newest first; an empty site means all.
func (c *Client) Deploys(ctx context.Context, site string) ([]catalog.Deploy, error) {
	var out []catalog.Deploy
	return out, c.call(ctx, "GET", "/v1/deploys", params("site", site), nil, &out)
}

// Deploy returns one deploy.
func (c *Client) Deploy(ctx context.Context, id string) (catalog.Deploy, error) {
	var out catalog.Deploy
	return out, c.call(ctx, "GET", "/v1/deploys/"+segment(id), nil, nil, &out)
}

// Logs copies the logs of a site to w. Lines below 0 are as many as there are without a word.
func (c *Client) Logs(ctx context.Context, q LogQuery, w io.Writer) error {
	query := params("member", q.Member, "instance", q.Instance, "release", q.Release)
	if q.Lines >= 0 {
		query.Set("tail", strconv.Itoa(q.Lines))
	}
	if !q.Since.IsZero() {
		query.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.JSON {
		query.Set("format", "json")
	}
	if q.Follow {
		query.Set("follow", "1")
	}
	_, err := c.stream(ctx, "/v1/sites/"+segment(q.Site)+"/logs", query, w)
	return err
}

// Members returns all members, pending ones too.
func (c *Client) Members(ctx context.Context) ([]MemberInfo, error) {
	var out []MemberInfo
	return out, c.call(ctx, "GET", "/v1/members", nil, nil, &out)
}

// Act does one of the verbs to a member.
func (c *Client) Act(ctx context.Context, member, verb, reason string) (MemberInfo, error) {
	var out MemberInfo
	return out, c.call(ctx, "POST", "/v1/members/"+segment(member)+"/"+segment(verb), nil, MemberRequest{Reason: reason}, &out)
}

// Accept lets a machine in, and gives an application server labels. A fingerprint names the one that is meant.
func (c *Client) Accept(ctx context.Context, member, fingerprint string, labels []string) (MemberInfo, error) {
	var out MemberInfo
	return out, c.call(ctx, "POST", "/v1/members/"+segment(member)+"/"+VerbAccept, nil, MemberRequest{Labels: labels, Fingerprint: fingerprint}, &out)
}

// SetLabels gives an application server these labels and no others.
func (c *Client) SetLabels(ctx context.Context, member string, labels []string) (LabelsAnswer, error) {
	var out LabelsAnswer
	return out, c.call(ctx, "POST", "/v1/members/"+segment(member)+"/labels", nil, LabelsRequest{Labels: labels}, &out)
}

// ForecastLabels says which sites SetLabels would move.
func (c *Client) ForecastLabels(ctx context.Context, member string, labels []string) (Forecast, error) {
	var out Forecast
	return out, c.call(ctx, "POST", "/v1/members/"+segment(member)+"/labels", dryRun(), LabelsRequest{Labels: labels}, &out)
}

// ForecastAct says what Act would cut.
func (c *Client) ForecastAct(ctx context.Context, member, verb string) (Forecast, error) {
	var out Forecast
	return out, c.call(ctx, "POST", "/v1/members/"+segment(member)+"/"+segment(verb), dryRun(), MemberRequest{}, &out)
}

// Drains returns what is being emptied of its sessions.
func (c *Client) Drains(ctx context.Context) ([]deployhook.Drain, error) {
	var out []deployhook.Drain
	return out, c.call(ctx, "GET", "/v1/drains", nil, nil, &out)
}

// Drain begins to empty a target of its sessions, or changes how that is done.
func (c *Client) Drain(ctx context.Context, t deployhook.Target, r DrainRequest) error {
	return c.call(ctx, "POST", drainPath(t, VerbDrain), nil, r, nil)
}

// ForecastDrain says what Drain would cut, or leave in peace.
func (c *Client) ForecastDrain(ctx context.Context, t deployhook.Target, r DrainRequest) (Forecast, error) {
	var out Forecast
	return out, c.call(ctx, "POST", drainPath(t, VerbDrain), dryRun(), r, &out)
}

// ActInstance does one of drain, ready and maint to one instance.
func (c *Client) ActInstance(ctx context.Context, site, instance, verb string) error {
	return c.call(ctx, "POST", drainPath(deployhook.Target{Site: site, Instance: instance}, verb), nil, DrainRequest{}, nil)
}

// ForecastInstance says what ActInstance would cut.
func (c *Client) ForecastInstance(ctx context.Context, site, instance, verb string) (Forecast, error) {
	var out Forecast
	return out, c.call(ctx, "POST", drainPath(deployhook.Target{Site: site, Instance: instance}, verb), dryRun(), DrainRequest{}, &out)
}

func drainPath(t deployhook.Target, verb string) string {
	switch {
	case t.Member != "":
		return "/v1/members/" + segment(t.Member) + "/" + segment(verb)
	case t.Instance != "":
		return "/v1/sites/" + segment(t.Site) + "/instances/" + segment(t.Instance) + "/" + segment(verb)
	}
	return "/v1/sites/" + segment(t.Site) + "/releases/" + segment(t.Release) + "/" + segment(verb)
}

// Invite makes a one-time code that accepts one machine.
func (c *Client) Invite(ctx context.Context, role catalog.Role, ttl time.Duration, labels ...string) (InviteAnswer, error) {
	var out InviteAnswer
	r := InviteRequest{Role: role, Labels: labels}
	if ttl > 0 {
		r.TTL = ttl.String()
	}
	return out, c.call(ctx, "POST", "/v1/invites", nil, r, &out)
}

// Invites returns the invites that exist.
func (c *Client) Invites(ctx context.Context) ([]InviteInfo, error) {
	var out []InviteInfo
	return out, c.call(ctx, "GET", "/v1/invites", nil, nil, &out)
}

// DeleteInvite makes an invite worthless.
func (c *Client) DeleteInvite(ctx context.Context, id string) error {
	return c.call(ctx, "DELETE", "/v1/invites/"+segment(id), nil, nil, nil)
}

// Accounts returns all accounts.
func (c *Client) Accounts(ctx context.Context) ([]AccountInfo, error) {
	var out []AccountInfo
	return out, c.call(ctx, "GET", "/v1/accounts", nil, nil, &out)
}

// PutAccount makes or changes an account.
func (c *Client) PutAccount(ctx context.Context, r AccountRequest) (AccountInfo, error) {
	var out AccountInfo
	return out, c.call(ctx, "POST", "/v1/accounts", nil, r, &out)
}

// DeleteAccount removes an account and its tokens.
func (c *Client) DeleteAccount(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/accounts/"+segment(name), nil, nil, nil)
}

// Tokens returns the tokens that the caller may see.
func (c *Client) Tokens(ctx context.Context) ([]TokenInfo, error) {
	var out []TokenInfo
	return out, c.call(ctx, "GET", "/v1/tokens", nil, nil, &out)
}

// NewToken makes a token.
func (c *Client) NewToken(ctx context.Context, r TokenRequest) (TokenAnswer, error) {
	var out TokenAnswer
	return out, c.call(ctx, "POST", "/v1/tokens", nil, r, &out)
}

// DeleteToken ends a token at once, and those that it made.
func (c *Client) DeleteToken(ctx context.Context, id string) (EndedTokens, error) {
	var out EndedTokens
	return out, c.call(ctx, "DELETE", "/v1/tokens/"+segment(id), nil, nil, &out)
}

// Audit returns the newest entries of the audit log.
func (c *Client) Audit(ctx context.Context, limit int) ([]catalog.AuditEntry, error) {
	var out []catalog.AuditEntry
	return out, c.call(ctx, "GET", "/v1/audit", params("limit", strconv.Itoa(limit)), nil, &out)
}

// Backup writes a backup of the catalog to w.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	_, err := c.stream(ctx, "/v1/backup", nil, w)
	return err
}

// ExportHAProxy returns haproxy.cfg.
func (c *Client) ExportHAProxy(ctx context.Context, r ExportRequest) (Export, error) {
	var out Export
	return out, c.call(ctx, "GET", "/v1/export/haproxy", r.query(), nil, &out)
}

// ExportHAProxyBundle also returns the files that haproxy.cfg names: the
// cluster's authority, and a certificate for the key that signed b.CSR, with
// which HAProxy may talk to agents. Administrators only.
func (c *Client) ExportHAProxyBundle(ctx context.Context, r ExportRequest, b ExportBundleRequest) (Export, error) {
	var out Export
	return out, c.call(ctx, "POST", "/v1/export/haproxy", r.query(), b, &out)
}

func (r ExportRequest) query() url.Values {
	q := params("dir", r.Dir, "certs", r.Certs, "http", r.HTTP, "https", r.HTTPS, "stats", r.Stats)
	q.Set("format", "json")
	if r.Bare {
		q.Set("bare", "1")
	}
	return q
}

// params builds a query of the pairs whose value is not empty.
func params(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func dryRun() url.Values { return url.Values{"dry_run": {"1"}} }
