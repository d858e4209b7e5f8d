package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
)

// Site is one installed site: its name, what operators set, and which releases
// the application servers should run. Stored under sites/NAME.
type Site struct {
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"` // account that installed it first; see View.Owner

	// Manifest is what the archive of the current release says in its
	// portico.toml, Override what operators set since (a JSON object with any
	// subset of the same fields). Settings joins the two.
	Manifest sites.Settings  `json:"manifest"`
	Override json.RawMessage `json:"override,omitempty"`

	// Release is the id of the release that new visitors get, empty until
	// the first deploy has succeeded. Candidate is the one that a running
	// deploy is installing beside it. Retiring are former releases whose
	// instances drain.
	Release   string     `json:"release,omitempty"`
	Candidate string     `json:"candidate,omitempty"`
	Deploy    string     `json:"deploy,omitempty"` // id of the deploy that owns Candidate
	Retiring  []Retiring `json:"retiring,omitempty"`
	Shapes    int        `json:"shapes,omitempty"` // the last number that a release got, see Release.Digest

	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`

	// Sealed holds the values of the environment where the record is stored; nil in views.
	Sealed []byte `json:"sealed,omitempty"`
}

// Retiring is a former release that keeps the sessions it has until they end,
// or until Deadline.
type Retiring struct {
	Release  string    `json:"release"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline"`

	// Move is after how long without a request a session is moved to the
	// present release with its next one; 0: it stays. Moved is how many were marked
	// to do so, Lost and Cause as in DrainProgress.
	Move  units.Duration `json:"move,omitempty"`
	Moved int            `json:"moved,omitempty"`
	Lost  int            `json:"lost,omitempty"`
	Cause string         `json:"cause,omitempty"`
	Left  units.Duration `json:"left,omitempty"` // as in DrainProgress
}

// Release is one immutable tree of files and the settings of the process that runs from it.
// Stored under releases/SITE/DIGEST.
type Release struct {
	Site     string         `json:"site"`
	Digest   string         `json:"digest"`   // its id: SHA-256 of the tree object, hexadecimal; "-1" and so on behind it where the same files ran with other settings of the process
	Archive  string         `json:"archive"`  // file name of the upload, for people
	Size     int64          `json:"size"`     // bytes of all files
	Files    int            `json:"files"`    // number of files
	Manifest sites.Settings `json:"manifest"` // from the archive's portico.toml and the deploy's flags
	Created  time.Time      `json:"created"`
	By       string         `json:"by"`
	Proxy    string         `json:"proxy"` // member that took the upload and holds the objects

	// Override is what operators had set when the release was deployed: its processes
	// keep what concerns them of it. Nil: it was deployed before that was kept.
	Override json.RawMessage `json:"override,omitempty"`

	Sealed []byte `json:"sealed,omitempty"` // as of a site
}

// DeployState is where a deploy stands.
type DeployState string

// The states of a deploy. Succeeded, Failed and Superseded are final.
const (
	DeployRunning    DeployState = "running"
	DeploySucceeded  DeployState = "succeeded"
	DeployFailed     DeployState = "failed"
	DeploySuperseded DeployState = "superseded"
)

// Deploy is one move of a site to a release. Stored under deploys/ID; ids sort
// by time of creation.
type Deploy struct {
	ID       string                    `json:"id"`
	Site     string                    `json:"site"`
	Release  string                    `json:"release"`
	Previous string                    `json:"previous,omitempty"`
	Rollback bool                      `json:"rollback,omitempty"`
	Settings bool                      `json:"settings,omitempty"` // of the files that run already, with other settings of the process
	NoPin    bool                      `json:"no_pin,omitempty"`   // sessions of the release before are cut once this one is in rotation
	State    DeployState               `json:"state"`
	Error    string                    `json:"error,omitempty"`
	Hint     string                    `json:"hint,omitempty"`
	Members  map[string]MemberProgress `json:"members"`
	By       string                    `json:"by"`
	Created  time.Time                 `json:"created"`
	Ended    time.Time                 `json:"ended,omitzero"`
}

// Step is how far one application server is with one release.
type Step string

// The steps of an installation, in order. Failed and Stopped end it.
const (
	StepWaiting    Step = "waiting"     // its wave has not begun, or the member is away
	StepFetching   Step = "fetching"    // objects are on their way
	StepInstalling Step = "installing"  // the release directory is assembled
	StepStarting   Step = "starting"    // the process runs, no check has passed yet
	StepHealthy    Step = "healthy"     // the agent's checks pass
	StepInRotation Step = "in rotation" // the proxies send new visitors
	StepFailed     Step = "failed"
	StepStopped    Step = "stopped"
)

// MemberProgress is one application server's part of a deploy.
type MemberProgress struct {
	Step    Step      `json:"step"`
	Done    int64     `json:"done,omitempty"`   // bytes fetched so far
	Total   int64     `json:"total,omitempty"`  // bytes to fetch
	Detail  string    `json:"detail,omitempty"` // the failure, or what is being waited for
	Probe   *Probe    `json:"probe,omitempty"`  // the last health check
	Log     []string  `json:"log,omitempty"`    // tail of the process's log, after a failure
	Updated time.Time `json:"updated"`
}

// Begun reports whether the member's wave has begun.
func (p MemberProgress) Begun() bool {
	return p.Step != "" && p.Step != StepWaiting && p.Step != StepStopped
}

// Probe is the outcome of one health check.
type Probe struct {
	OK      bool           `json:"ok"`
	Code    string         `json:"code"`             // HAProxy's word: L4OK, L4CON, L4TOUT, L7OK, L7STS, L7RSP, L7TOUT …
	Status  int            `json:"status,omitempty"` // HTTP status
	Latency units.Duration `json:"latency"`
	Body    string         `json:"body,omitempty"` // the first 256 bytes of the answer
	Error   string         `json:"error,omitempty"`
	Asked   string         `json:"asked,omitempty"` // what was asked, see sites.Settings.Question; empty: the agent does not tell
	At      time.Time      `json:"at"`
}

// Effective returns the settings that the site runs with: the manifest's, what
// operators set over them, and the defaults.
func (s *Site) Effective() (sites.Settings, error) {
	joined, err := sites.Join(s.Manifest, s.Override)
	if err != nil {
		return sites.Settings{}, fmt.Errorf("site %q: %w", s.Name, err)
	}
	return joined.WithDefaults(s.Name), nil
}

// EffectiveFor returns the settings with which the site runs one release: the
// manifest of that release, what operators set for it, and the defaults.
func (s *Site) EffectiveFor(r *Release) (sites.Settings, error) {
	joined, err := s.JoinedFor(r)
	if err != nil {
		return sites.Settings{}, fmt.Errorf("site %q: %w", s.Name, err)
	}
	return joined.WithDefaults(s.Name), nil
}

// overrideFor is what operators have set, for one release: of the process what they had set
// when it was deployed, and of the rest what they have set now. A candidate may come with a change of
// both, which counts for it alone until it is promoted.
func (s *Site) overrideFor(r *Release) (json.RawMessage, error) {
	switch {
	case r.Override == nil, bytes.Equal(r.Override, sites.StoredOverride(s.Override)): // nearly always, and in views of thousands of sites
		return s.Override, nil
	case s.Candidate == r.Digest && s.Release != r.Digest:
		return r.Override, nil
	}
	return sites.MergeShape(s.Override, r.Override)
}

// JoinedFor returns the settings with which the site runs one release, without defaults.
func (s *Site) JoinedFor(r *Release) (sites.Settings, error) {
	override, err := s.overrideFor(r)
	if err != nil {
		return sites.Settings{}, err
	}
	return sites.Join(r.Manifest, override)
}
