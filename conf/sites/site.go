package sites

import "portico/internal/units"

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

// The protocols that instances may speak.
const (
	ProtocolHTTP1 = "http/1.1"
	ProtocolH2C   = "h2c" // HTTP/2 without TLS of its own, with prior knowledge (RFC 9113, 3.3)
)

// What TLS.Mode may say.
const (
	TLSAuto     = "auto"     // ACME for public names, none for others
	TLSOff      = "off"      // no certificate
	TLSInternal = "internal" // one of the cluster's authority
)

// What TLS.Redirect may say of plain HTTP.
const (
	RedirectAuto = "auto" // to TLS once there is a certificate
	RedirectOn   = "on"
	RedirectOff  = "off"
)

// What Session.Sticky may say.
const (
	StickyCookie = "cookie" // a cookie of portico's names the instance
	StickyNone   = "none"   // any instance may answer any request
)

// What Session.SameSite may say (RFC 6265bis, 5.6.7).
const (
	SameSiteLax    = "lax"
	SameSiteStrict = "strict"
	SameSiteNone   = "none" // sent with Secure only
)

// What Session.Connection may say of the connections to instances.
const (
	ConnectionShared  = "shared"  // many visitors' requests go over one
	ConnectionPrivate = "private" // a client connection has some of its own
)

// What Underscores may say of fields with "_" in their names.
const (
	UnderscoresDrop = "drop"
	UnderscoresPass = "pass"
)

// What Health.Type may say.
const (
	HealthHTTP = "http" // a request is answered
	HealthTCP  = "tcp"  // a connection is taken
)

// Front is what the proxies need to know of a site, whoever runs its application servers: a site
// that is installed has it, and so has one of the proxy's file. The zero value of every field
// means its default.
type Front struct {
	Hosts []string `json:"hosts,omitempty" toml:"hosts"` // lower case, "*." allowed as the first label; none: the site answers on every host that no other site names
	Path  string   `json:"path,omitempty" toml:"path"`   // mount path, default "/"
	Strip bool     `json:"strip,omitempty" toml:"strip"` // remove the mount path before forwarding

	Policy       Policy         `json:"policy,omitempty" toml:"policy"`               // how new sessions are placed; default least-sessions
	PolicyHeader string         `json:"policy_header,omitempty" toml:"policy_header"` // header field that policy "header" goes by; required with it
	PolicyBound  int            `json:"policy_bound,omitempty" toml:"policy_bound"`   // policies source, header and uri: most requests in flight at one instance, in percent of its fair share, 101 to 1000; 0: no bound
	SlowStart    units.Duration `json:"slow_start,omitempty" toml:"slow_start"`       // an instance's share of new sessions grows from a tenth to all of it so long after it came up; at most 1h, 0: at once

	Rewrite     []Rewrite `json:"rewrite,omitzero" toml:"rewrite"`          // what of an answer names addresses that are turned into the visitor's, of Rewrites; nil: all, empty: none
	Protocol    string    `json:"protocol,omitempty" toml:"protocol"`       // what the instances speak: ProtocolHTTP1 (default), or ProtocolH2C, as gRPC needs it
	Underscores string    `json:"underscores,omitempty" toml:"underscores"` // fields of requests with "_" in their names: UnderscoresDrop (default), or UnderscoresPass: they reach the instances, but for other names of what a proxy says

	Health  Health  `json:"health,omitzero" toml:"health"`
	Session Session `json:"session,omitzero" toml:"session"`
	TLS     TLS     `json:"tls,omitzero" toml:"tls"`
}

// Settings are all that can be set of an installed site: what its portico.toml may say and
// operators may override. The zero value of every field means its default, see
// Settings.WithDefaults.
type Settings struct {
	Front
	Kind    Kind              `json:"kind,omitempty" toml:"kind"`
	Servers []string          `json:"servers,omitempty" toml:"servers"` // labels or names of the application servers that get the site; none: all
	Run     []string          `json:"run,omitempty" toml:"run"`         // command of a run site; $PORT and other settings are expanded
	Public  string            `json:"public,omitempty" toml:"public"`   // folder of a static site, default "."
	Data    []string          `json:"data,omitempty" toml:"data"`       // folders that live on the application server, linked into each release
	Exclude []string          `json:"exclude,omitempty" toml:"exclude"` // patterns that are left out of the upload
	User    string            `json:"user,omitempty" toml:"user"`       // operating system account of the process; default: the agent's site user
	Env     map[string]string `json:"env,omitempty" toml:"env"`         // environment of the process

	Hook   Hook   `json:"hook,omitzero" toml:"hook"`
	Deploy Deploy `json:"deploy,omitzero" toml:"deploy"`
	Limits Limits `json:"limits,omitzero" toml:"limits"`
}

// Hook has the commands of a hook site, run with the release directory
// as working directory and PORTICO_SITE, PORTICO_RELEASE, PORTICO_RELEASE_DIR
// and PORTICO_DATA_DIR in the environment.
type Hook struct {
	Install  []string `json:"install,omitempty" toml:"install"`   // puts the release in place; may be empty
	Activate []string `json:"activate,omitempty" toml:"activate"` // makes the foreign server use it; may be empty
	Remove   []string `json:"remove,omitempty" toml:"remove"`     // takes the site away; may be empty
	Port     int      `json:"port,omitempty" toml:"port"`         // where the foreign server answers on this machine; required
}

// Health says when an instance counts as healthy.
type Health struct {
	Type     string         `json:"type,omitempty" toml:"type"`         // HealthHTTP (default) or HealthTCP
	Path     string         `json:"path,omitempty" toml:"path"`         // default: the mount path
	Host     string         `json:"host,omitempty" toml:"host"`         // Host field of the check; default: the site's first host, else "localhost"
	Status   string         `json:"status,omitempty" toml:"status"`     // codes and ranges, default "200-399"
	Body     string         `json:"body,omitempty" toml:"body"`         // text that must stand in the first 64 KiB; empty: not looked at
	Interval units.Duration `json:"interval,omitempty" toml:"interval"` // default 2s
	Timeout  units.Duration `json:"timeout,omitempty" toml:"timeout"`   // default: the interval
	Rise     int            `json:"rise,omitempty" toml:"rise"`         // default 2
	Fall     int            `json:"fall,omitempty" toml:"fall"`         // default 3
}

// Session says how visitors are kept on their instance.
type Session struct {
	Sticky      string         `json:"sticky,omitempty" toml:"sticky"`           // StickyCookie (default) or StickyNone
	Cookie      string         `json:"cookie,omitempty" toml:"cookie"`           // name, default "portico-" + site
	SameSite    string         `json:"samesite,omitempty" toml:"samesite"`       // SameSiteLax (default), SameSiteStrict or SameSiteNone
	Partitioned bool           `json:"partitioned,omitempty" toml:"partitioned"` // over TLS, portico's cookies are of the site in whose frame they were set (CHIPS), so that browsers without third-party cookies keep them there; needs SameSiteNone
	Idle        units.Duration `json:"idle,omitempty" toml:"idle"`               // a session ends after this time without a request; default 30m
	Life        units.Duration `json:"life,omitempty" toml:"life"`               // a session ends this long after its start; 0: never
	Patience    units.Duration `json:"patience,omitempty" toml:"patience"`       // how long sessions are kept for an instance that cannot be reached and is not known to have ended; default 60s
	Max         int            `json:"max,omitempty" toml:"max"`                 // most live sessions of one instance; 0: no ceiling
	Profile     string         `json:"profile,omitempty" toml:"profile"`         // where the application's own token is; empty: not looked for
	Adopt       string         `json:"adopt,omitempty" toml:"adopt"`             // cookies in which the balancer before named a server; empty or "none": no such cookie
	Notice      bool           `json:"notice,omitempty" toml:"notice"`           // show people a page when their session was lost, before the application is asked
	Logout      string         `json:"logout,omitempty" toml:"logout"`           // path after whose answer a session is over; empty: only the application's header says so
	Rebalance   int            `json:"rebalance,omitempty" toml:"rebalance"`     // sessions a minute that may move, when it costs them nothing, from instances that have more than their share; 0: none
	Connection  string         `json:"connection,omitempty" toml:"connection"`   // ConnectionShared (default) or ConnectionPrivate
}

// Deploy says how a release replaces another.
type Deploy struct {
	Wave    int            `json:"wave,omitempty" toml:"wave"`       // application servers that install at the same time; 0: all
	Timeout units.Duration `json:"timeout,omitempty" toml:"timeout"` // from start to healthy on one server; default 60s
	Pin     units.Duration `json:"pin,omitempty" toml:"pin"`         // how long old sessions may stay on a former release; default 8h
	Keep    int            `json:"keep,omitempty" toml:"keep"`       // former releases kept for rollback; default 4
	Before  []string       `json:"before,omitempty" toml:"before"`   // command run once per cluster before the first instance starts
	Grace   units.Duration `json:"grace,omitempty" toml:"grace"`     // between SIGTERM and SIGKILL of a process; default 10s
}

// FrontLimits bounds what the proxies let through to a site.
type FrontLimits struct {
	Body        units.Size     `json:"body,omitempty" toml:"body"`               // largest request body; default 64MiB
	Connections int            `json:"connections,omitempty" toml:"connections"` // requests in flight at one instance; 0: no limit
	Queue       units.Duration `json:"queue,omitempty" toml:"queue"`             // longest wait for a free instance; default 5s
	Rate        string         `json:"rate,omitempty" toml:"rate"`               // requests of one client address, "100/s" or "600/m"; empty: no limit
}

// Limits bounds what an installed site may use, at the proxies and on its application servers.
type Limits struct {
	FrontLimits
	Memory    units.Size `json:"memory,omitempty" toml:"memory"`       // of one instance, and of each of its processes; 0: no limit
	CPU       float64    `json:"cpu,omitempty" toml:"cpu"`             // processors that one instance may use up, such as 1.5; 0: no limit
	Disk      units.Size `json:"disk,omitempty" toml:"disk"`           // of the site's own files on each server, releases and logs not counted; 0: no limit
	Files     int        `json:"files,omitempty" toml:"files"`         // open files of one process; 0: 4096
	Processes int        `json:"processes,omitempty" toml:"processes"` // processes and threads of one instance and of the site's user; 0: 512
}

// TLS says how the site's hosts get certificates.
type TLS struct {
	Mode     string `json:"mode,omitempty" toml:"mode"`         // TLSAuto (default), TLSOff or TLSInternal
	Redirect string `json:"redirect,omitempty" toml:"redirect"` // RedirectAuto (default), RedirectOn or RedirectOff
}
