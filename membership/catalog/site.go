package catalog

import (
	"encoding/json"
	"time"

	"portico/internal/units"
)

// Kind says how the instances of a site are run.
type Kind string

// The kinds of site. An empty Kind in Settings is derived from the archive:
// a *.war is tomcat, a run command makes it run, everything else is static.
const (
	KindRun    Kind = "run"    // a process that the agent supervises
	KindStatic Kind = "static" // files that the agent serves
	KindTomcat Kind = "tomcat" // a WAR installed through the Tomcat Manager
	KindHook   Kind = "hook"   // commands install into a foreign application server
)

// Site is one installed site: its name, what operators set, and which releases
// the application servers should run. Stored under sites/NAME.
type Site struct {
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"` // account that installed it first; see View.Owner

	// Manifest is what the archive of the current release says in its
	// portico.toml, Override what operators set since (a JSON object with any
	// subset of the same fields). Settings joins the two.
	Manifest Settings        `json:"manifest"`
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

// Settings are what a site's portico.toml may say and operators may override.
// The zero value of every field means its default, see Settings.WithDefaults.
type Settings struct {
	Kind    Kind              `json:"kind,omitempty" toml:"kind"`
	Hosts   []string          `json:"hosts,omitempty" toml:"hosts"`     // lower case, "*." allowed as the first label; none: the site answers on every host that no other site names
	Path    string            `json:"path,omitempty" toml:"path"`       // mount path, default "/"
	Servers []string          `json:"servers,omitempty" toml:"servers"` // labels or names of the application servers that get the site; none: all
	Strip   bool              `json:"strip,omitempty" toml:"strip"`     // remove the mount path before forwarding
	Run     []string          `json:"run,omitempty" toml:"run"`         // command of a run site; $PORT and other settings are expanded
	Public  string            `json:"public,omitempty" toml:"public"`   // folder of a static site, default "."
	Data    []string          `json:"data,omitempty" toml:"data"`       // folders that live on the application server, linked into each release
	Exclude []string          `json:"exclude,omitempty" toml:"exclude"` // patterns that are left out of the upload
	User    string            `json:"user,omitempty" toml:"user"`       // operating system account of the process; default: the agent's site user
	Env     map[string]string `json:"env,omitempty" toml:"env"`         // environment of the process
	Policy  string            `json:"policy,omitempty" toml:"policy"`   // how new sessions are placed; default least-sessions

	PolicyHeader string         `json:"policy_header,omitempty" toml:"policy_header"` // header field that policy "header" goes by; required with it
	PolicyBound  int            `json:"policy_bound,omitempty" toml:"policy_bound"`   // policies source, header and uri: most requests in flight at one instance, in percent of its fair share, 101 to 1000; 0: no bound
	SlowStart    units.Duration `json:"slow_start,omitempty" toml:"slow_start"`       // an instance's share of new sessions grows from a tenth to all of it so long after it came up; 0: at once

	Rewrite     []string `json:"rewrite,omitzero" toml:"rewrite"`          // what of an answer names addresses that are turned into the visitor's, of Rewrites; nil: all, empty: none
	Underscores string   `json:"underscores,omitempty" toml:"underscores"` // fields of requests with "_" in their names: "drop" (default), or "pass": they reach the instances, but for other names of what a proxy says

	Hook    HookSettings    `json:"hook,omitzero" toml:"hook"`
	Health  HealthSettings  `json:"health,omitzero" toml:"health"`
	Session SessionSettings `json:"session,omitzero" toml:"session"`
	Deploy  DeploySettings  `json:"deploy,omitzero" toml:"deploy"`
	Limits  LimitSettings   `json:"limits,omitzero" toml:"limits"`
	TLS     TLSSettings     `json:"tls,omitzero" toml:"tls"`
}

// HookSettings are the commands of a hook site, run with the release directory
// as working directory and PORTICO_SITE, PORTICO_RELEASE, PORTICO_RELEASE_DIR
// and PORTICO_DATA_DIR in the environment.
type HookSettings struct {
	Install  []string `json:"install,omitempty" toml:"install"`   // puts the release in place; may be empty
	Activate []string `json:"activate,omitempty" toml:"activate"` // makes the foreign server use it; may be empty
	Remove   []string `json:"remove,omitempty" toml:"remove"`     // takes the site away; may be empty
	Port     int      `json:"port,omitempty" toml:"port"`         // where the foreign server answers on this machine; required
}

// HealthSettings say when an instance counts as healthy.
type HealthSettings struct {
	Type     string         `json:"type,omitempty" toml:"type"`         // "http" (default) or "tcp"
	Path     string         `json:"path,omitempty" toml:"path"`         // default: the mount path
	Host     string         `json:"host,omitempty" toml:"host"`         // Host field of the check; default: the site's first host, else "localhost"
	Status   string         `json:"status,omitempty" toml:"status"`     // codes and ranges, default "200-399"
	Body     string         `json:"body,omitempty" toml:"body"`         // text that must stand in the first 64 KiB; empty: not looked at
	Interval units.Duration `json:"interval,omitempty" toml:"interval"` // default 2s
	Timeout  units.Duration `json:"timeout,omitempty" toml:"timeout"`   // default: the interval
	Rise     int            `json:"rise,omitempty" toml:"rise"`         // default 2
	Fall     int            `json:"fall,omitempty" toml:"fall"`         // default 3
}

// SessionSettings say how visitors are kept on their instance.
type SessionSettings struct {
	Sticky     string         `json:"sticky,omitempty" toml:"sticky"`         // "cookie" (default) or "none"
	Cookie     string         `json:"cookie,omitempty" toml:"cookie"`         // name, default "portico-" + site
	SameSite   string         `json:"samesite,omitempty" toml:"samesite"`     // "lax" (default), "strict" or "none"; none is sent with Secure only
	Idle       units.Duration `json:"idle,omitempty" toml:"idle"`             // a session ends after this time without a request; default 30m
	Life       units.Duration `json:"life,omitempty" toml:"life"`             // a session ends this long after its start; 0: never
	Patience   units.Duration `json:"patience,omitempty" toml:"patience"`     // how long sessions are kept for an instance that cannot be reached and is not known to have ended; default 60s
	Max        int            `json:"max,omitempty" toml:"max"`               // most live sessions of one instance; 0: no ceiling
	Profile    string         `json:"profile,omitempty" toml:"profile"`       // where the application's own token is; empty: not looked for
	Adopt      string         `json:"adopt,omitempty" toml:"adopt"`           // cookies in which the balancer before named a server; empty or "none": no such cookie
	Notice     bool           `json:"notice,omitempty" toml:"notice"`         // show people a page when their session was lost, before the application is asked
	Logout     string         `json:"logout,omitempty" toml:"logout"`         // path after whose answer a session is over; empty: only the application's header says so
	Rebalance  int            `json:"rebalance,omitempty" toml:"rebalance"`   // sessions a minute that may move, when it costs them nothing, from instances that have more than their share; 0: none
	Connection string         `json:"connection,omitempty" toml:"connection"` // "shared" (default), or "private": a client connection has connections to instances of its own
}

// DeploySettings say how a release replaces another.
type DeploySettings struct {
	Wave    int            `json:"wave,omitempty" toml:"wave"`       // application servers that install at the same time; 0: all
	Timeout units.Duration `json:"timeout,omitempty" toml:"timeout"` // from start to healthy on one server; default 60s
	Pin     units.Duration `json:"pin,omitempty" toml:"pin"`         // how long old sessions may stay on a former release; default 8h
	Keep    int            `json:"keep,omitempty" toml:"keep"`       // former releases kept for rollback; default 4
	Before  []string       `json:"before,omitempty" toml:"before"`   // command run once per cluster before the first instance starts
	Grace   units.Duration `json:"grace,omitempty" toml:"grace"`     // between SIGTERM and SIGKILL of a process; default 10s
}

// LimitSettings bound what one site may use.
type LimitSettings struct {
	Body        units.Size     `json:"body,omitempty" toml:"body"`               // largest request body; default 64MiB
	Connections int            `json:"connections,omitempty" toml:"connections"` // requests in flight at one instance; 0: no limit
	Queue       units.Duration `json:"queue,omitempty" toml:"queue"`             // longest wait for a free instance; default 5s
	Rate        string         `json:"rate,omitempty" toml:"rate"`               // requests of one client address, "100/s" or "600/m"; empty: no limit
	Memory      units.Size     `json:"memory,omitempty" toml:"memory"`           // of one instance, and of each of its processes; 0: no limit
	CPU         float64        `json:"cpu,omitempty" toml:"cpu"`                 // processors that one instance may use up, such as 1.5; 0: no limit
	Disk        units.Size     `json:"disk,omitempty" toml:"disk"`               // of the site's own files on each server, releases and logs not counted; 0: no limit
	Files       int            `json:"files,omitempty" toml:"files"`             // open files of one process; 0: 4096
	Processes   int            `json:"processes,omitempty" toml:"processes"`     // processes and threads of one instance and of the site's user; 0: 512
}

// TLSSettings say how the site's hosts get certificates.
type TLSSettings struct {
	Mode     string `json:"mode,omitempty" toml:"mode"`         // "auto" (default: ACME for public names, none for others), "off", "internal" (the cluster's authority)
	Redirect string `json:"redirect,omitempty" toml:"redirect"` // plain HTTP to HTTPS: "auto" (default: once there is a certificate), "on", "off"
}

// Release is one immutable tree of files and the settings of the process that runs from it.
// Stored under releases/SITE/DIGEST.
type Release struct {
	Site     string    `json:"site"`
	Digest   string    `json:"digest"`   // its id: SHA-256 of the tree object, hexadecimal; "-1" and so on behind it where the same files ran with other settings of the process
	Archive  string    `json:"archive"`  // file name of the upload, for people
	Size     int64     `json:"size"`     // bytes of all files
	Files    int       `json:"files"`    // number of files
	Manifest Settings  `json:"manifest"` // from the archive's portico.toml and the deploy's flags
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
	Proxy    string    `json:"proxy"` // member that took the upload and holds the objects

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

// Probe is the outcome of one health check.
type Probe struct {
	OK      bool           `json:"ok"`
	Code    string         `json:"code"`             // HAProxy's word: L4OK, L4CON, L4TOUT, L7OK, L7STS, L7RSP, L7TOUT …
	Status  int            `json:"status,omitempty"` // HTTP status
	Latency units.Duration `json:"latency"`
	Body    string         `json:"body,omitempty"` // the first 256 bytes of the answer
	Error   string         `json:"error,omitempty"`
	At      time.Time      `json:"at"`
}
