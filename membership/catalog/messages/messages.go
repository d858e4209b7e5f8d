// Package messages is what proxies and agents tell one another about the records of the catalog, and what they tell those who watch:
// what is wanted and what runs, the steps of a deploy, lines of logs, outcomes of checks. The catalog stores none of it.
package messages

import (
	"slices"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

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
	Site     string         `json:"site"`
	Release  string         `json:"release"`
	Duty     Duty           `json:"duty"`
	Settings sites.Settings `json:"settings"` // joined and with defaults
	Deploy   string         `json:"deploy,omitempty"`
	Before   bool           `json:"before,omitempty"` // this member runs the site's before command first

	// Servers are the application servers, by name, that may have the release's files
	// where not all may: this one gives them to no other. None: all may.
	Servers []string `json:"servers,omitempty"`
}

// Peer is another member's address and name.
type Peer struct {
	Name        string `json:"name"`
	Addr        string `json:"addr"`                  // host:port of its mutual TLS listener
	Fingerprint string `json:"fingerprint,omitempty"` // of its key, see [catalog.Member]; empty: not known, as in a state that an earlier version wrote
}

// Known reports whether one of the peers bears this name and key. Another machine may have the name
// of a revoked one, whose certificate is good for a while yet.
func Known(peers []Peer, name, fingerprint string) bool {
	return slices.ContainsFunc(peers, func(p Peer) bool {
		return p.Name == name && (p.Fingerprint == "" || p.Fingerprint == fingerprint)
	})
}

// Report is what an agent tells: the body of POST /v1/agent/report. It is
// whole, not a difference: an instance that it does not name is gone.
type Report struct {
	Revision  int64             `json:"revision"`          // of the Wanted that it follows
	Copy      bool              `json:"copy,omitempty"`    // another proxy writes it down
	Leaving   bool              `json:"leaving,omitempty"` // the agent goes for a moment, and its instances stay: nothing is kept open to them
	Instances []InstanceReport  `json:"instances"`
	Version   string            `json:"version"`
	Runtimes  map[string]string `json:"runtimes,omitempty"`
	Disk      DiskReport        `json:"disk"`
	Memory    MemoryReport      `json:"memory,omitzero"`
}

// InstanceReport is one instance, or one attempt at one, as its agent sees it.
type InstanceReport struct {
	catalog.Instance
	Deploy   string                 `json:"deploy,omitempty"`
	Progress catalog.MemberProgress `json:"progress"`
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
	At       time.Time               `json:"at"`
	Deploy   string                  `json:"deploy"`
	Member   string                  `json:"member,omitempty"` // empty: about the deploy as a whole
	Progress *catalog.MemberProgress `json:"progress,omitempty"`
	State    catalog.DeployState     `json:"state,omitempty"`
	Message  string                  `json:"message"`
}

// LogLine is one line of a site's log.
type LogLine struct {
	At       time.Time `json:"at"`                 // when it was written, to about a second
	Member   string    `json:"member,omitempty"`   // filled in by the proxy that asked
	Release  string    `json:"release,omitempty"`  // empty: not known, or of the site's commands
	Instance string    `json:"instance,omitempty"` // "commands": of the site's commands; empty: of no instance
	Text     string    `json:"text"`
}

// ChecksPath is where an agent tells proxies of its checks for as long as they listen: a [CheckResult] in JSON each line's
// list holds, one line for the checks that were over together.
const ChecksPath = "/v1/checks"

// CheckResult is the outcome of a check that an agent made of an instance.
type CheckResult struct {
	ID     string        `json:"id"`
	Asked  string        `json:"asked"` // what was asked, see [sites.Front.Question]
	OK     bool          `json:"ok,omitempty"`
	Code   string        `json:"code"` // as in [catalog.Probe]
	Status int           `json:"status,omitempty"`
	Took   time.Duration `json:"took,omitempty"`
}
