package conf

import "portico/internal/units"

// Site is a static site: hosts and a path that lead to application servers
// without an agent. The zero value of every field means its default, which is
// that of an installed site. Health, Session, Limits and SiteTLS have the
// fields of the catalog's records, so that one converts into the other.
type Site struct {
	Name  string   `toml:"name"`  // required; a DNS label
	Hosts []string `toml:"hosts"` // lower case, "*." allowed as the first label; none: every host that no other site names
	Path  string   `toml:"path"`  // mount path, default "/"
	Strip bool     `toml:"strip"` // remove the mount path before forwarding

	Policy       string         `toml:"policy"`        // how new sessions are placed; default least-sessions
	PolicyHeader string         `toml:"policy_header"` // header field that policy "header" goes by; required with it
	PolicyBound  int            `toml:"policy_bound"`  // policies source, header and uri: most requests in flight at one upstream, in percent of its fair share; 0: no bound
	SlowStart    units.Duration `toml:"slow_start"`    // an upstream's share of new sessions grows from a tenth to all of it so long after it came up; 0: at once

	Rewrite     []string `toml:"rewrite"`     // what of an answer names addresses that are turned into the visitor's: "location", "content-location", "refresh", "link", "cookie-path", "cookie-domain"; not set: all, empty: none
	Underscores string   `toml:"underscores"` // fields of requests with "_" in their names: "drop" (default), or "pass": they reach the upstreams, but for other names of what a proxy says

	IdleTimeout units.Duration `toml:"idle_timeout"` // an idle connection to an upstream is closed after this, or a second before its Keep-Alive field says; 0: 4s, or proxy.connections.idle_timeout where that is less

	Health    Health     `toml:"health"`
	Session   Session    `toml:"session"`
	Limits    Limits     `toml:"limits"`
	TLS       SiteTLS    `toml:"tls"`
	Upstreams []Upstream `toml:"upstream"` // at least one
}

// Upstream is one application server of a static site.
type Upstream struct {
	Name        string `toml:"name"`        // required, unique within the site; it names the server in cookies and statistics
	Addr        string `toml:"addr"`        // host:port, required
	Weight      int    `toml:"weight"`      // share of new sessions, 1 to 256; 0: 100
	Backup      bool   `toml:"backup"`      // gets visitors only when no other is healthy
	Zone        string `toml:"zone"`        // see Agent.Zone
	Connections int    `toml:"connections"` // requests in flight; 0: the site's limit
	Drain       bool   `toml:"drain"`       // keeps its sessions until they end, gets no new ones

	// Route and Cookie are what the balancer before called it, so that its visitors keep their
	// sessions: the route behind their tokens or in a cookie of session.adopt (default: the
	// name), and a cookie with a value, "SRV:s1" (default: none).
	Route  string `toml:"route"`
	Cookie string `toml:"cookie"`
}

// Health says when an upstream counts as healthy.
type Health struct {
	Type     string         `toml:"type"`     // "http" (default) or "tcp"
	Path     string         `toml:"path"`     // default: the mount path
	Host     string         `toml:"host"`     // Host field of the check; default: the site's first host, else "localhost"
	Status   string         `toml:"status"`   // codes and ranges, default "200-399"
	Body     string         `toml:"body"`     // text that must stand in the first 64 KiB; empty: not looked at
	Interval units.Duration `toml:"interval"` // default 2s
	Timeout  units.Duration `toml:"timeout"`  // default: the interval
	Rise     int            `toml:"rise"`     // default 2
	Fall     int            `toml:"fall"`     // default 3
}

// Session says how visitors are kept on their upstream.
type Session struct {
	Sticky     string         `toml:"sticky"`     // "cookie" (default) or "none"
	Cookie     string         `toml:"cookie"`     // name, default "portico-" + site
	SameSite   string         `toml:"samesite"`   // "lax" (default), "strict" or "none"
	Idle       units.Duration `toml:"idle"`       // a session ends after this time without a request; default 30m
	Life       units.Duration `toml:"life"`       // a session ends this long after its start; 0: never
	Patience   units.Duration `toml:"patience"`   // how long sessions are kept for an instance that cannot be reached and is not known to have ended; default 60s
	Max        int            `toml:"max"`        // most live sessions of one upstream; 0: no ceiling
	Profile    string         `toml:"profile"`    // where the application's own token is; empty: not looked for
	Adopt      string         `toml:"adopt"`      // cookies in which the balancer before named an upstream; default the usual ones, "none": no such cookie
	Notice     bool           `toml:"notice"`     // show people a page when their session was lost, before the application is asked
	Logout     string         `toml:"logout"`     // path after whose answer a session is over; empty: only the application's header says so
	Rebalance  int            `toml:"rebalance"`  // sessions a minute that may move, when it costs them nothing, from upstreams that have more than their share; 0: none
	Connection string         `toml:"connection"` // "shared" (default), or "private": a client connection has upstream connections of its own
}

// Limits bound what one site may use.
type Limits struct {
	Body        units.Size     `toml:"body"`        // largest request body; default 64MiB
	Connections int            `toml:"connections"` // requests in flight at one upstream; 0: no limit
	Queue       units.Duration `toml:"queue"`       // longest wait for a free upstream; default 5s
	Rate        string         `toml:"rate"`        // requests of one client address, "100/s" or "600/m"; empty: no limit
}

// SiteTLS says how the site's hosts get certificates.
type SiteTLS struct {
	Mode     string `toml:"mode"`     // "auto" (default: ACME for public names, none for others), "off", "internal" (the cluster's authority)
	Redirect string `toml:"redirect"` // plain HTTP to HTTPS: "auto" (default: once there is a certificate), "on", "off"
}
