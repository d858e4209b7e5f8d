package admin

import (
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// Stats is the answer of GET /v1/stats: what this proxy counts, and who is in
// the cluster. Durations are in milliseconds, rates per second.
type Stats struct {
	Cluster   string          `json:"cluster"`
	Proxy     string          `json:"proxy"`
	Version   string          `json:"version"`
	Revision  int64           `json:"revision"`
	Now       time.Time       `json:"now"`
	Started   time.Time       `json:"started"`
	Frontends []FrontendStats `json:"frontends"`
	Pools     []PoolStats     `json:"pools"`
	Members   []MemberInfo    `json:"members,omitempty"` // not for accounts whose scope is some sites
}

// FrontendStats is one listener.
type FrontendStats struct {
	Name        string            `json:"name"`
	Addr        string            `json:"addr"`
	Conns       int               `json:"conns"`
	ConnsMax    int               `json:"conns_max"`
	ConnsLimit  int               `json:"conns_limit"`
	ConnTotal   uint64            `json:"conn_total"`
	ConnRate    float64           `json:"conn_rate"`
	ConnRateMax float64           `json:"conn_rate_max"`
	Requests    uint64            `json:"requests"`
	ReqRate     float64           `json:"req_rate"`
	ReqRateMax  float64           `json:"req_rate_max"`
	BytesIn     uint64            `json:"bytes_in"`
	BytesOut    uint64            `json:"bytes_out"`
	Denied      uint64            `json:"denied"`
	Errors      uint64            `json:"errors"`
	Responses   map[string]uint64 `json:"responses"` // by class: "2xx"
}

// PoolStats is one site's pool.
type PoolStats struct {
	Name           string            `json:"name"`
	Policy         string            `json:"policy"`
	Status         string            `json:"status"` // UP or DOWN
	LastChange     int64             `json:"last_change_ms"`
	Active         int               `json:"active"`
	Backup         int               `json:"backup"`
	Sessions       int               `json:"sessions"`
	InFlight       int               `json:"in_flight"`
	Total          uint64            `json:"total"`
	Rate           float64           `json:"rate"`
	RateMax        float64           `json:"rate_max"`
	BytesIn        uint64            `json:"bytes_in"`
	BytesOut       uint64            `json:"bytes_out"`
	Recounting     bool              `json:"recounting,omitempty"` // session counts are still too low after a start
	Waiting        int               `json:"waiting"`              // requests that wait, in all
	Queued         int               `json:"queued"`
	NewSessions    uint64            `json:"new_sessions"`
	NewSessionRate float64           `json:"new_session_rate"`
	Lost           map[string]uint64 `json:"lost,omitempty"`    // sessions, by cause
	Refused        map[string]uint64 `json:"refused,omitempty"` // cookies, by cause
	Upstreams      []UpstreamStats   `json:"upstreams"`
}

// UpstreamStats is one instance as this proxy sees it.
type UpstreamStats struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Member      string            `json:"member,omitempty"`
	Addr        string            `json:"addr"`
	Release     string            `json:"release,omitempty"`
	Admin       string            `json:"admin"`  // ready, drain or maint
	State       string            `json:"state"`  // up, suspect, down or unverified
	Status      string            `json:"status"` // in HAProxy's words
	Reason      string            `json:"reason,omitempty"`
	InRotation  bool              `json:"in_rotation"`
	Retiring    bool              `json:"retiring,omitempty"`
	Backup      bool              `json:"backup,omitempty"`
	LastChange  int64             `json:"last_change_ms"`
	DownTime    int64             `json:"down_time_ms"`
	CheckCode   string            `json:"check_code,omitempty"`
	CheckStatus int               `json:"check_status,omitempty"`
	CheckTime   float64           `json:"check_ms,omitempty"`
	CheckDetail string            `json:"check_detail,omitempty"`
	ChecksFail  uint64            `json:"checks_failed"`
	Downs       uint64            `json:"downs"`
	Weight      int               `json:"weight"`
	WeightSet   int               `json:"weight_set"`
	Sessions    int               `json:"sessions"`
	Recounting  bool              `json:"recounting,omitempty"` // there may be more sessions: see MemberInfo
	SessionsMax int               `json:"sessions_limit"`       // 0: none
	InFlight    int               `json:"in_flight"`
	InFlightMax int               `json:"in_flight_max"`
	MaxConns    int               `json:"max_conns"` // 0: none
	Queued      int               `json:"queued"`
	QueuedMax   int               `json:"queued_max"`
	Total       uint64            `json:"total"`
	Rate        float64           `json:"rate"`
	RateMax     float64           `json:"rate_max"`
	BytesIn     uint64            `json:"bytes_in"`
	BytesOut    uint64            `json:"bytes_out"`
	ConnErrors  uint64            `json:"connect_errors"`
	RespErrors  uint64            `json:"response_errors"`
	Retries     uint64            `json:"retries"`
	Redispatch  uint64            `json:"redispatches"`
	Responses   map[string]uint64 `json:"responses"`
	P50         float64           `json:"p50_ms"`
	P99         float64           `json:"p99_ms"`
	Max         float64           `json:"max_ms"`
	LastUsed    time.Time         `json:"last_used,omitzero"`
}

// ExplainQuery is a request that GET /v1/explain is asked about. Only URL is
// required.
type ExplainQuery struct {
	URL    string
	Method string   // default GET
	Header []string // "Name: value"
	Cookie string   // a whole Cookie field, or the value of the site's sticky cookie alone
	From   string   // address of the peer
}

// ExchangeQuery says which finished requests are asked for. The zero value means
// all that the proxy remembers.
type ExchangeQuery struct {
	Site   string
	Failed bool   // those that failed, were retried, or lost a session
	ID     string // begins so
	Client string // address of the visitor
	Limit  int    // 0: 50
}

// Node is what gossip says of a member: a hint, never a verdict.
type Node struct {
	Name   string `json:"name"`
	Status string `json:"status"` // "alive", "failed", "left"
	Addr   string `json:"addr"`
}

// MemberInfo is one line of GET /v1/members.
type MemberInfo struct {
	Name        string             `json:"name"`
	ID          string             `json:"id"`
	Role        catalog.Role       `json:"role"`
	Admission   catalog.Admission  `json:"admission"`
	Admin       catalog.AdminState `json:"admin"`
	Addr        string             `json:"addr"`
	Fingerprint string             `json:"fingerprint"`
	Version     string             `json:"version"`
	Platform    string             `json:"platform"`
	Runtimes    map[string]string  `json:"runtimes,omitempty"`
	Zone        string             `json:"zone,omitempty"`
	Labels      []string           `json:"labels,omitempty"` // place sites: see servers of a site
	Weight      int                `json:"weight"`
	Reason      string             `json:"reason,omitempty"`
	Knocked     time.Time          `json:"knocked"`
	Decided     time.Time          `json:"decided,omitzero"`
	By          string             `json:"by,omitempty"`
	Gossip      string             `json:"gossip,omitempty"` // "alive", "failed", "left"; empty: not seen
	Instances   int                `json:"instances"`
	Sessions    int64              `json:"sessions"`

	// Recounting reports that there may be more sessions: a proxy has not been up for long enough to have
	// seen all of them again, or does not answer.
	Recounting bool `json:"recounting,omitempty"`

	// Catalog is a proxy's part in the shared catalog: in the list of members only, and
	// nil where there is none, as of an application server.
	Catalog *catalog.Replica `json:"catalog,omitempty"`

	// Formers are the processes of the proxy that answers from which the present one has taken over, and which
	// have streams yet.
	Formers []Former `json:"formers,omitempty"`
}

// Former is a process of a proxy that lives for the sake of its streams: WebSockets and event streams.
type Former struct {
	PID     int       `json:"pid"`
	Streams int       `json:"streams"`
	Since   time.Time `json:"since"` // when another took over
	Until   time.Time `json:"until"` // when it cuts what is left then, by its own proxy.timeouts.tunnels

	// Unheard reports that it has no line to the present process, as the one that took over from it was killed: nobody
	// knows which instances its streams lead to, so none that drains is stopped before it has ended.
	Unheard bool `json:"unheard,omitempty"`
}

// SiteInfo is one line of GET /v1/sites.
type SiteInfo struct {
	Name         string         `json:"name"`
	Release      string         `json:"release,omitempty"`
	Candidate    string         `json:"candidate,omitempty"`
	Deploy       string         `json:"deploy,omitempty"`
	Begun        string         `json:"begun,omitempty"` // after a change of settings: the deploy by which it comes about
	Settings     sites.Settings `json:"settings"`        // joined, with defaults
	Override     any            `json:"override,omitempty"`
	Instances    []InstanceInfo `json:"instances"`
	Sessions     int64          `json:"sessions"`
	Recounting   bool           `json:"recounting,omitempty"`   // there may be more sessions: see MemberInfo
	Certificates []Certificate  `json:"certificates,omitempty"` // of its hosts, at the proxy that was asked
	URLs         []string       `json:"urls,omitempty"`         // where it answers at the proxy that was asked
	Created      time.Time      `json:"created"`
	Updated      time.Time      `json:"updated"`
}

// InstanceInfo is one instance of a site and what the proxy thinks of it.
type InstanceInfo struct {
	catalog.Instance
	Upstream   string `json:"upstream,omitempty"` // HAProxy's status words; empty: the proxy does not know it
	Sessions   int64  `json:"sessions"`
	Recounting bool   `json:"recounting,omitempty"` // there may be more sessions: see MemberInfo
}

// ReleaseInfo is one line of GET /v1/sites/{site}/releases.
type ReleaseInfo struct {
	Digest   string    `json:"digest"`
	Archive  string    `json:"archive"`
	Size     int64     `json:"size"`
	Files    int       `json:"files"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
	Current  bool      `json:"current"`
	Retiring bool      `json:"retiring,omitempty"`
}

// Forecast says what an action would cut, before it is done: the answer of a
// changing request with dry_run=1.
type Forecast struct {
	Action    string         `json:"action"`
	Object    string         `json:"object"`
	Sessions  int64          `json:"sessions"`         // live sessions that would lose their instance; a drain loses none
	Recent    int64          `json:"recent"`           // of these, used in the last five minutes
	Keeps     int64          `json:"keeps"`            // live sessions that stay where they are until they end
	Visits    int64          `json:"visits,omitempty"` // of static sites: any other server continues them, so they count in neither
	InFlight  int64          `json:"in_flight"`        // requests running there now
	Instances []ForecastLine `json:"instances"`
	Left      int            `json:"left"` // instances of the touched sites that would still take new sessions
	Message   string         `json:"message"`

	// Recounting reports that the proxy has not been up for long: there may be more
	// sessions than it has seen.
	Recounting bool     `json:"recounting,omitempty"`
	Notes      []string `json:"notes,omitempty"` // what else to know before, such as memory that is short
}

// ForecastLine is one instance that an action touches.
type ForecastLine struct {
	Site     string `json:"site"`
	Instance string `json:"instance"`
	Member   string `json:"member"`
	Sessions int64  `json:"sessions"`
	Recent   int64  `json:"recent"`
	InFlight int64  `json:"in_flight"`
}

// SessionCount is one line of GET /v1/sessions.
type SessionCount struct {
	Site       string `json:"site"`
	Instance   string `json:"instance"`
	Member     string `json:"member"`
	Release    string `json:"release"`
	State      string `json:"state"`
	Sessions   int64  `json:"sessions"`
	Recent     int64  `json:"recent"`               // used in the last five minutes
	Limit      int64  `json:"limit"`                // 0: none
	Recounting bool   `json:"recounting,omitempty"` // there may be more: a proxy has not been up for long
	Unpinned   bool   `json:"unpinned,omitempty"`   // of a static site: any other server continues them, no drain waits for them
}

// SessionList is the answer of GET /v1/sessions/{site}.
type SessionList struct {
	Site       string        `json:"site"`
	Total      int           `json:"total"`                // that match
	Recounting bool          `json:"recounting,omitempty"` // this proxy is too young to know them all
	Note       string        `json:"note,omitempty"`       // what there is to say of a cookie or token that was searched for
	Sessions   []SessionInfo `json:"sessions"`             // the most recently used, up to the limit
}

// SessionInfo is one session.
type SessionInfo struct {
	ID       string    `json:"id,omitempty"` // 16 hexadecimal digits; opens nothing. Empty: known by the application's token only
	Instance string    `json:"instance"`
	Member   string    `json:"member,omitempty"`
	Release  string    `json:"release,omitempty"`
	Started  time.Time `json:"started"`
	Used     time.Time `json:"used"`               // last
	Returned bool      `json:"returned,omitempty"` // seen more than once
	Ended    bool      `json:"ended,omitempty"`    // by an operator: its cookie will be refused
	Moving   bool      `json:"moving,omitempty"`   // by an operator: its next request is placed elsewhere
	Silent   []string  `json:"silent,omitempty"`   // proxies that did not answer when it was ended or moved
}

// The keys that members share.
const (
	KeySession = "session" // seals the sticky cookies
	KeyGossip  = "gossip"  // encrypts the gossip
	KeyTickets = "tickets" // seals TLS session tickets
)

// KeyInfo is one line of GET /v1/keys.
type KeyInfo struct {
	Kind    string    `json:"kind"`
	ID      int       `json:"id,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Primary bool      `json:"primary,omitempty"` // seals or encrypts; the others only open
	Next    bool      `json:"next,omitempty"`    // will seal when its time has come
	From    time.Time `json:"from,omitzero"`     // it seals from here on, of session keys
	Until   time.Time `json:"until,omitzero"`    // it opens nothing from here on, of session keys
}

// HostInfo is one line of GET /v1/hosts: a host that somebody has. "*" stands for every
// host that no site names.
type HostInfo struct {
	Host     string    `json:"host"`
	Path     string    `json:"path,omitempty"`  // empty: shared with the site, which does not name it yet
	Site     string    `json:"site,omitempty"`  // empty: the name of a proxy's admin page
	Owner    string    `json:"owner,omitempty"` // account that installed the site first
	Proxy    string    `json:"proxy,omitempty"` // whose admin page or configuration file has it
	SharedBy string    `json:"shared_by,omitempty"`
	SharedAt time.Time `json:"shared_at,omitzero"`
	Beside   []string  `json:"beside,omitempty"` // accounts beside whose sites it may have the host

	Certificate *Certificate `json:"certificate,omitempty"` // at the proxy that was asked; nil: it does not know the host
}

// HostRequest is the body of POST /v1/hosts/{host}/share, unshare and move.
type HostRequest struct {
	Site string `json:"site"`
}

// AccountInfo is an account without its password.
type AccountInfo struct {
	Name     string              `json:"name"`
	Role     catalog.AccountRole `json:"role"`
	Sites    []string            `json:"sites,omitempty"`
	Created  time.Time           `json:"created"`
	Disabled bool                `json:"disabled,omitempty"`
	Login    bool                `json:"login"` // has a password
}

// AccountRequest is the body of POST /v1/accounts: it makes an account or
// changes the fields that are set.
type AccountRequest struct {
	Name     string              `json:"name"`
	Role     catalog.AccountRole `json:"role,omitempty"`
	Sites    *[]string           `json:"sites,omitempty"`
	Password string              `json:"password,omitempty"`
	Disabled *bool               `json:"disabled,omitempty"`

	// Confirm is the caller's own password. It is needed where the caller's token or login
	// ends by itself: an account lasts.
	Confirm string `json:"confirm,omitempty"`
}

// TokenRequest is the body of POST /v1/tokens.
type TokenRequest struct {
	Account string `json:"account,omitempty"` // default: the caller's own
	Label   string `json:"label,omitempty"`
	TTL     string `json:"ttl,omitempty"` // "90d"; empty: as long as the token or login that asks
}

// TokenInfo is a token without its secret.
type TokenInfo struct {
	ID      string    `json:"id"`
	Account string    `json:"account"`
	Label   string    `json:"label,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Parent  string    `json:"parent,omitempty"` // the token that made it, with which it ends
}

// EndedTokens is the answer of DELETE /v1/tokens/{token}.
type EndedTokens struct {
	Ended []string `json:"ended"` // the token, and those that it made
}

// TokenAnswer is a new token: the only time that its text is shown.
type TokenAnswer struct {
	Token string `json:"token"`
	TokenInfo
}

// LoginRequest is the body of POST /v1/login.
type LoginRequest struct {
	Account  string `json:"account"`
	Password string `json:"password"`
	Label    string `json:"label,omitempty"`
	TTL      string `json:"ttl,omitempty"` // default 30d
}

// InviteRequest is the body of POST /v1/invites.
type InviteRequest struct {
	Role catalog.Role `json:"role,omitempty"` // default server
	TTL  string       `json:"ttl,omitempty"`  // default 1h

	Labels []string `json:"labels,omitempty"` // that the application server gets
}

// InviteAnswer is a new invite: the only time that its code is shown.
type InviteAnswer struct {
	Code    string       `json:"code"`
	ID      string       `json:"id,omitempty"`
	Role    catalog.Role `json:"role"`
	Expires time.Time    `json:"expires"`
	Labels  []string     `json:"labels,omitempty"`
}

// InviteInfo is an invite without its code.
type InviteInfo struct {
	ID      string       `json:"id"`
	Role    catalog.Role `json:"role"`
	Expires time.Time    `json:"expires"`
	By      string       `json:"by"`
	Created time.Time    `json:"created"`
	UsedBy  string       `json:"used_by,omitempty"`
	UsedAt  time.Time    `json:"used_at,omitzero"`
	Labels  []string     `json:"labels,omitempty"`
}

// RollbackRequest is the body of POST /v1/sites/{site}/rollback. An empty
// release means the one before the current one; a prefix of at least six
// characters will do.
type RollbackRequest struct {
	Release string `json:"release,omitempty"`
	NoPin   bool   `json:"no_pin,omitempty"` // cut the sessions of the present release once the other is in rotation
}

// MemberRequest is the body of the member verbs; all of it is optional.
type MemberRequest struct {
	Reason string   `json:"reason,omitempty"`
	Labels []string `json:"labels,omitempty"` // of accept: what the application server gets

	// Fingerprint, of accept, is that of the key of the machine that is meant, or its first 16
	// digits at least: another machine of the name is refused. Empty: whichever has knocked.
	Fingerprint string `json:"fingerprint,omitempty"`
	DrainRequest
}

// LabelsRequest is the body of POST /v1/members/{member}/labels: all labels that the
// application server is to have.
type LabelsRequest struct {
	Labels []string `json:"labels"`
}

// LabelsAnswer is what came of it.
type LabelsAnswer struct {
	Member string   `json:"member"`
	Labels []string `json:"labels"`
	Notes  []string `json:"notes,omitempty"` // which sites begin and end there, and which have no server any more
}

// DrainRequest says how to drain; all of it is optional, and sessions stay until
// they end without it.
type DrainRequest struct {
	Move     string `json:"move,omitempty"`     // "5m": sessions that were not used for so long are moved with their next request
	Deadline string `json:"deadline,omitempty"` // "2h": what is left then loses its instance
	Now      bool   `json:"now,omitempty"`      // of a release: its sessions lose their instance at once
}

// DrainOutcome is one line of GET /v1/drains/ended.
type DrainOutcome struct {
	Object  string    `json:"object"` // server-1, shop/INSTANCE, shop@RELEASE
	At      time.Time `json:"at"`
	Outcome string    `json:"outcome"`
	Empty   bool      `json:"empty"` // no session lost its instance
	catalog.DrainOutcome
}

// Readiness is the answer of GET /readyz. Its own fields are about traffic, which goes on
// when changes of the cluster have to wait.
type Readiness struct {
	Ready   bool             `json:"ready"`
	Reasons []string         `json:"reasons,omitempty"`
	Changes ChangesReadiness `json:"changes"`
	View    ViewReadiness    `json:"view"`
}

// ChangesReadiness says whether the cluster can be changed by way of this proxy.
type ChangesReadiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
}

// ViewReadiness says how old what this proxy knows of the cluster may be.
type ViewReadiness struct {
	Revision int64      `json:"revision"`
	OldSince *time.Time `json:"old_since,omitempty"` // absent: it is up to date
}

// Whoami is the answer of GET /v1/whoami.
type Whoami struct {
	Account string              `json:"account"`
	Role    catalog.AccountRole `json:"role"`
	Sites   []string            `json:"sites,omitempty"`
	Cluster string              `json:"cluster"`
	Version string              `json:"version"`
}

// Certificate is one line of the page's certificate table.
type Certificate struct {
	Names  []string  `json:"names"`
	Issuer string    `json:"issuer"`
	Source string    `json:"source,omitempty"` // "acme", "file", "internal" (the cluster's authority) or "none"
	State  string    `json:"state"`            // "valid", "renewing" (the last attempt failed), "ends soon", "expired", "waiting" (for the first), "failed" or "none"
	Expiry time.Time `json:"expiry,omitzero"`
	Error  string    `json:"error,omitempty"` // of the last attempt, or why there is to be none
	Next   time.Time `json:"next,omitzero"`   // when it is tried again
}

// ExportRequest says what an export is for. Empty fields mean the defaults of
// haproxy.Options.
type ExportRequest struct {
	HTTP, HTTPS string // addresses to listen on
	Certs       string // folder of certificates for HTTPS, as HAProxy will find it; empty: no HTTPS
	Stats       string // address of HAProxy's own page, "off": none
	Dir         string // where the companion files will lie
	Bare        bool   // without account, chroot and runtime socket
}

// ExportBundleRequest is the body of POST /v1/export/haproxy.
type ExportBundleRequest struct {
	Name string `json:"name"` // member name of the HAProxy
	CSR  []byte `json:"csr"`  // certificate request, DER
}

// Export is the answer of /v1/export/haproxy in JSON: file names and their
// content. Without the bundle it is haproxy.cfg alone.
type Export struct {
	Revision int64             `json:"revision"`
	Files    map[string]string `json:"files"`
}
