package conf

import (
	"cmp"

	"portico/conf/sites"
	"portico/internal/units"
)

// Site is a static site: hosts and a path that lead to application servers without an agent.
type Site struct {
	Name string `toml:"name"` // required; a DNS label
	sites.Front

	IdleTimeout units.Duration `toml:"idle_timeout"` // an idle connection to an upstream is closed after this, or a second before its Keep-Alive field says; 0: 4s, or proxy.connections.idle_timeout where that is less

	Limits    sites.FrontLimits `toml:"limits"`
	Upstreams []Upstream        `toml:"upstream"` // at least one
}

// Settings are those of an installed site that does the same, with every default filled in. A static
// site has had another balancer before it more often than not: session.adopt has a default.
func (s Site) Settings() sites.Settings {
	s.Session.Adopt = cmp.Or(s.Session.Adopt, sites.AdoptUsual)
	return sites.Settings{Front: s.Front, Limits: sites.Limits{FrontLimits: s.Limits}}.WithDefaults(s.Name)
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
