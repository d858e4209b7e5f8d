package catalog

import "time"

// Duty is what an application server should do with a release.
type Duty string

// The duties. An agent runs an instance for each release that has one, and
// stops those that have none any more.
const (
	DutyCurrent   Duty = "current"   // new visitors go there
	DutyCandidate Duty = "candidate" // being installed beside the current one
	DutyRetiring  Duty = "retiring"  // keep running while sessions last, never start anew
)

// Wanted is what one application server should run: the answer of
// GET /v1/agent/wanted. The same document, fetched on a timer, at start and
// after each nudge, makes late, restarted and cut-off members converge.
type Wanted struct {
	Revision int64               `json:"revision"`
	Cluster  string              `json:"cluster"` // id, so that an agent never obeys another cluster
	Releases []WantedRelease     `json:"releases"`
	Proxies  []Peer              `json:"proxies"` // where to ask next time
	Servers  []Peer              `json:"servers"` // other members that may hold objects
	Keep     map[string][]string `json:"keep"`    // site to the releases whose files stay on disk for a rollback
}

// WantedRelease is one release that an application server should run.
type WantedRelease struct {
	Site     string   `json:"site"`
	Release  string   `json:"release"`
	Duty     Duty     `json:"duty"`
	Settings Settings `json:"settings"` // joined and with defaults
	Deploy   string   `json:"deploy,omitempty"`
	Before   bool     `json:"before,omitempty"` // this member runs the site's before command first
}

// Peer is another member's address and name.
type Peer struct {
	Name string `json:"name"`
	Addr string `json:"addr"` // host:port of its mutual TLS listener
}

// Report is what an agent tells: the body of POST /v1/agent/report. It is
// whole, not a difference: an instance that it does not name is gone.
type Report struct {
	Revision  int64             `json:"revision"`       // of the Wanted that it follows
	Copy      bool              `json:"copy,omitempty"` // another proxy writes it down
	Instances []InstanceReport  `json:"instances"`
	Version   string            `json:"version"`
	Runtimes  map[string]string `json:"runtimes,omitempty"`
	Disk      DiskReport        `json:"disk"`
	Memory    MemoryReport      `json:"memory,omitzero"`
}

// InstanceReport is one instance, or one attempt at one, as its agent sees it.
type InstanceReport struct {
	Instance
	Deploy   string         `json:"deploy,omitempty"`
	Progress MemberProgress `json:"progress"`
}

// DiskReport is the room on the file system that holds the agent's directory.
type DiskReport struct {
	Free  int64 `json:"free"`
	Total int64 `json:"total"`
}

// MemoryReport is the machine's memory. Zero: the agent cannot tell.
type MemoryReport struct {
	Free  int64 `json:"free,omitempty"` // what new processes can have without swapping
	Total int64 `json:"total,omitempty"`
}

// Event is one line of GET /v1/deploys/ID/events.
type Event struct {
	At       time.Time       `json:"at"`
	Deploy   string          `json:"deploy"`
	Member   string          `json:"member,omitempty"` // empty: about the deploy as a whole
	Progress *MemberProgress `json:"progress,omitempty"`
	State    DeployState     `json:"state,omitempty"`
	Message  string          `json:"message"`
}
