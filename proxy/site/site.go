// Package site is what the data path knows of a site: its settings, compiled, what outlives a change of
// them, and the table of all sites at one moment.
package site

import (
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy/probe"
	"portico/proxy/route"
	"portico/proxy/sticky"
)

// Site is what the data path knows of one site: its settings with every default
// filled in, immutable, and a pointer to what outlives a change of settings.
type Site struct {
	Name string
	route.Rule
	Strip bool // take the mount path off before an instance sees it

	Underscores bool // fields of requests with "_" in their names reach the instances
	Rewrites    Rewrites
	HTTP2       bool // instances speak HTTP/2

	Sticky bool
	Cookie sticky.Cookie

	WantsNotice bool   // a page for people whose session was lost
	Logout      string // normalized path after whose answer a session is over; "": none

	Profile      sticky.Profile // where the application's own token is; no places: nowhere
	AdoptCookies []string       // cookies in which the balancer before may have named an instance

	Body        int64 // bytes of the largest request body
	Rate        Rate
	Hash        sites.Policy // what Request.Hash is made of: "source", "header", "uri" or ""
	hashBy      string       // the header field, with the policy "header"
	Check       probe.Check
	PoolConfig  balancer.Config
	MaxConns    int           // requests in flight at one instance, 0: no limit
	MaxSessions int           // live sessions of one instance, 0: no ceiling
	Idle        time.Duration // how long connections to upstreams of the configuration file wait, 0: as usual

	Source *catalog.Site // the record this was compiled from; nil for a static site
	*State
}

const (
	// agentGrace is how long an instance that takes no connections may be behind an
	// agent that is only restarting, before it counts as down. It takes an agent a second or two to be back.
	agentGrace = 3 * time.Second

	// AgentRestart is the same where the agent has said that it restarts. It then lets requests end for three seconds without taking
	// others, and a package manager may replace the program meanwhile, on a machine that has other things to do.
	AgentRestart = 15 * time.Second

	// slowGrace is how long an instance may let its checks wait before it counts as down,
	// while its agent says that the process lives: a pause for garbage, a burst
	// of visitors or a deploy beside it takes seconds.
	slowGrace = 10 * time.Second
)

// Rate is a limit of requests for each client address. Zero: none.
type Rate struct {
	PerSecond float64
	Burst     int
}
