package api

import (
	"time"

	"portico/membership/catalog"
)

// What can be done to a member.
const (
	VerbAccept = "accept" // a pending member becomes part of the cluster
	VerbRefuse = "refuse" // a pending member is turned away
	VerbRevoke = "revoke" // a member is cut off for good
	VerbDrain  = "drain"  // keeps its sessions, takes no new ones
	VerbReady  = "ready"  // takes new sessions
	VerbMaint  = "maint"  // takes nothing

	VerbLabels = "labels" // an application server gets other labels
)

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

	// Predecessors are the processes of the proxy that answers from which the present one has taken over, and which
	// have streams yet.
	Predecessors []Predecessor `json:"formers,omitempty"`
}

// Predecessor is a process of a proxy that lives for the sake of its streams: WebSockets and event streams.
type Predecessor struct {
	PID     int       `json:"pid"`
	Streams int       `json:"streams"`
	Since   time.Time `json:"since"` // when another took over
	Until   time.Time `json:"until"` // when it cuts what is left then, by its own proxy.timeouts.tunnels

	// Unheard reports that it has no line to the present process, as the one that took over from it was killed: nobody
	// knows which instances its streams lead to, so none that drains is stopped before it has ended.
	Unheard bool `json:"unheard,omitempty"`
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
