package catalog

import (
	"slices"
	"time"

	"portico/membership/catalog/store/peers"
)

// Role is what a member does in the cluster.
type Role = peers.Role

// The roles of a member.
const (
	RoleProxy  = peers.RoleProxy
	RoleServer = peers.RoleServer // an application server; its process is the agent
)

// Admission says whether a member belongs to the cluster.
type Admission string

// The admission of a member. Only Accepted opens anything.
const (
	Pending  Admission = "pending"
	Accepted Admission = "accepted"
	Refused  Admission = "refused"
	Revoked  Admission = "revoked"
)

// AdminState is what operators want of a member, in HAProxy's words.
type AdminState string

// The administrative states.
const (
	AdminReady AdminState = "ready" // takes new sessions
	AdminDrain AdminState = "drain" // keeps its sessions, takes no new ones
	AdminMaint AdminState = "maint" // takes nothing
)

// Member is one machine of the cluster, or one that knocked. Stored under
// members/NAME; the name belongs to the key that was first accepted with it.
type Member struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"` // random, made by the machine, survives changes of address
	Role        Role              `json:"role"`
	Admission   Admission         `json:"admission"`
	Admin       AdminState        `json:"admin"`
	Addr        string            `json:"addr"`              // host:port where proxies reach the agent (7444), or members the proxy (7443)
	Gossip      string            `json:"gossip"`            // host:port of serf
	Catalog     string            `json:"catalog,omitempty"` // host:port where the other proxies reach a proxy's catalog (7445)
	Fingerprint string            `json:"fingerprint"`       // SHA-256 of the public key (SPKI), hexadecimal
	Version     string            `json:"version"`
	Platform    string            `json:"platform"`           // linux/amd64
	Runtimes    map[string]string `json:"runtimes,omitempty"` // what is installed there: "tomcat": "10.1.34", "php": "8.2.28"
	Zone        string            `json:"zone,omitempty"`     // as the machine says
	Labels      []string          `json:"labels,omitempty"`   // of an application server, sorted: given by operators, place sites, see Settings.Servers
	Weight      int               `json:"weight,omitempty"`   // share of new sessions, 1 to 256; 0: 100
	Reason      string            `json:"reason,omitempty"`   // why it was refused or revoked
	CSR         []byte            `json:"csr,omitempty"`      // DER, kept while pending so that acceptance can sign it
	Certificate []byte            `json:"certificate,omitempty"`
	Knocked     time.Time         `json:"knocked"`
	Decided     time.Time         `json:"decided,omitzero"`
	By          string            `json:"by,omitempty"`

	Drain *DrainOrder `json:"drain,omitempty"` // while Admin is drain: how; nil: sessions stay until they end

	// Overdue reports that Admin is maint because the deadline of a drain has passed,
	// and not because an operator wanted it at once: visitors are told so.
	Overdue bool `json:"overdue,omitempty"`

	// Rival is the fingerprint of another key that knocked with this name and
	// was turned away, RivalAt when it last did. Operators are shown both.
	Rival   string    `json:"rival,omitempty"`
	RivalAt time.Time `json:"rival_at,omitzero"`
}

// Invite is a one-time code that accepts the machine that shows it. Only the
// code's hash is kept. Stored under invites/ID.
type Invite struct {
	ID      string    `json:"id"`
	Hash    []byte    `json:"hash"` // SHA-256 of the code
	Role    Role      `json:"role"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by"`
	Created time.Time `json:"created"`
	UsedBy  string    `json:"used_by,omitempty"` // member name
	UsedAt  time.Time `json:"used_at,omitzero"`
	Labels  []string  `json:"labels,omitempty"` // that the machine gets, see Member.Labels
}

// InstanceState is how far an instance is.
type InstanceState string

// The states of an instance, as its agent reports them.
const (
	InstanceStarting InstanceState = "starting"
	InstanceHealthy  InstanceState = "healthy"
	InstanceFailing  InstanceState = "failing" // runs, and its checks fail
	InstanceExited   InstanceState = "exited"  // the process ended or the site was taken away; the record goes next
)

// Instance is one start of one release on one application server. Its id is
// new for each start, so that a pin is never mistaken for a later process at
// the same address. Stored under instances/ID.
type Instance struct {
	ID      string        `json:"id"` // 26 characters of lower-case base32, 128 random bits
	Site    string        `json:"site"`
	Release string        `json:"release"`
	Member  string        `json:"member"`
	State   InstanceState `json:"state"`
	Detail  string        `json:"detail,omitempty"`
	Started time.Time     `json:"started"`
	Port    int           `json:"port,omitempty"` // where its process answers on the member's own machine; 0: it has none, or the agent does not say

	// Admin is what operators want of this instance alone, empty or ready where
	// they want nothing, and Drain and Overdue as for a member. An agent's report
	// cannot change them.
	Admin   AdminState  `json:"admin,omitempty"`
	Drain   *DrainOrder `json:"drain,omitempty"`
	Overdue bool        `json:"overdue,omitempty"`

	// Leaving reports that Admin was set because the site does not belong on the
	// server any more, and not because an operator wanted it.
	Leaving bool `json:"leaving,omitempty"`

	// Unpinned reports that the instance keeps no sessions of its own (a
	// static site), so that any other instance of the same release can
	// continue a visit.
	Unpinned bool `json:"unpinned,omitempty"`
}

// AccountRole is what an account may do; each includes those before it.
type AccountRole string

// The roles of accounts.
const (
	RoleViewer   AccountRole = "viewer"   // read
	RoleDeployer AccountRole = "deployer" // install, roll back and read the sites that its scope names
	RoleOperator AccountRole = "operator" // also drain, ready, maint, settings
	RoleAdmin    AccountRole = "admin"    // also members, accounts, invites, removal, backup
)

// Rank orders the roles: each includes those of a lower rank. An unknown role has
// rank 0 and may do nothing.
func (r AccountRole) Rank() int {
	return slices.Index([]AccountRole{"", RoleViewer, RoleDeployer, RoleOperator, RoleAdmin}, r)
}

// Account is a person or a machine that may use the admin API. Stored under
// accounts/NAME.
type Account struct {
	Name     string      `json:"name"`
	Role     AccountRole `json:"role"`
	Sites    []string    `json:"sites,omitempty"`    // scope of a deployer; empty: all sites
	Password string      `json:"password,omitempty"` // argon2id in PHC form; empty: no password login
	Created  time.Time   `json:"created"`
	Disabled bool        `json:"disabled,omitempty"`
}

// Token is a bearer token of an account. Only its hash is kept. Stored under
// tokens/ID; the token itself is ID "." SECRET.
type Token struct {
	ID      string    `json:"id"`
	Hash    []byte    `json:"hash"` // SHA-256 of the secret
	Account string    `json:"account"`
	Label   string    `json:"label,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never

	// Parent is the token that made this one, empty where a password or the program did. It opens
	// nothing once its parent does not, or may not make it any more; see VerifyToken.
	Parent string `json:"parent,omitempty"`
}

// AuditEntry is one thing that somebody did. Stored under audit/ID; ids sort by
// time, the oldest are dropped past 10,000.
type AuditEntry struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`              // account, or "member NAME", or "portico"
	Token  string    `json:"token,omitempty"` // id of the token that was shown
	From   string    `json:"from"`            // client address, empty for the program itself
	Action string    `json:"action"`
	Object string    `json:"object"`
	Detail string    `json:"detail,omitempty"`
	Failed bool      `json:"failed,omitempty"`

	Drain *DrainOutcome `json:"drain,omitempty"` // of a drain that has ended: how, for programs
}
