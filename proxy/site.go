package proxy

import (
	"fmt"
	"strings"
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy/probe"
	"portico/proxy/route"
	"portico/proxy/sticky"
)

// site is what the data path knows of one site: its settings with every default
// filled in, immutable, and a pointer to what outlives a change of settings.
type site struct {
	name string
	route.Rule
	strip bool // take the mount path off before an instance sees it

	underscores bool // fields of requests with "_" in their names reach the instances
	rewrites    rewrites

	sticky bool
	cookie sticky.Cookie

	wantsNotice bool   // a page for people whose session was lost
	logout      string // normalized path after whose answer a session is over; "": none

	profile sticky.Profile // where the application's own token is; no places: nowhere
	adopts  []string       // cookies in which the balancer before may have named an instance

	body     int64 // bytes of the largest request body
	rate     rateSpec
	hash     sites.Policy // what Request.Hash is made of: "source", "header", "uri" or ""
	hashBy   string       // the header field, with the policy "header"
	check    probe.Check
	pool     balancer.Config
	maxConns int           // requests in flight at one instance, 0: no limit
	maxSess  int           // live sessions of one instance, 0: no ceiling
	idle     time.Duration // how long connections to upstreams of the configuration file wait, 0: as usual

	source *catalog.Site // the record this was compiled from; nil for a static site
	*siteState
}

const (
	// agentGrace is how long an instance that takes no connections may be behind an
	// agent that is only restarting, before it counts as down. It takes an agent a second or two to be back.
	agentGrace = 3 * time.Second

	// slowGrace is how long an instance may let its checks wait before it counts as down,
	// while its agent says that the process lives: a pause for garbage, a burst
	// of visitors or a deploy beside it takes seconds.
	slowGrace = 10 * time.Second
)

// rateSpec is a limit of requests for each client address. Zero: none.
type rateSpec struct {
	perSecond float64
	burst     int
}

// compileSite turns a catalog record into what the data path uses. An error
// names the setting; the site then keeps what it had.
func compileSite(rec *catalog.Site) (*site, error) {
	set, err := rec.Effective()
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	st, err := compileSettings(rec.Name, set)
	if err != nil {
		return nil, err
	}
	st.source = rec
	return st, nil
}

// compileSettings takes settings whose defaults are filled in.
func compileSettings(name string, set sites.Settings) (*site, error) {
	rule, err := route.NewRule(set.Hosts, set.Path)
	if err != nil {
		return nil, fmt.Errorf("compile site %q: %w", name, err)
	}
	rule.TLSMode, rule.Redirect, rule.Private = set.TLS.Mode, set.TLS.Redirect, set.Session.Connection == "private"
	if set.Session.Sticky == "none" {
		set.Session.Patience = 0 // there is nothing to wait for
	}
	st := &site{
		name: name, Rule: rule, strip: set.Strip && rule.Mount != "/",
		sticky: set.Session.Sticky != "none",
		cookie: sticky.NewCookie(rule.Mount, set.Session),

		underscores: set.Underscores == "pass",
		rewrites:    rewritesOf(set.Rewrite),

		wantsNotice: set.Session.Notice,
		body:        set.Limits.Body.Bytes(),
		pool: balancer.Config{
			Policy:    set.Policy,
			NotSticky: set.Session.Sticky == "none",
			Idle:      set.Session.Idle.Std(),
			Life:      set.Session.Life.Std(),
			Health:    balancer.HealthRules{Rise: set.Health.Rise, Fall: set.Health.Fall, Grace: agentGrace, Slow: slowGrace, Patience: set.Session.Patience.Std()},
			Queue:     set.Limits.Queue.Std(),
			Rebalance: set.Session.Rebalance,
			HashBound: set.PolicyBound,
			SlowStart: set.SlowStart.Std(),
		},
		hashBy:   strings.ToLower(set.PolicyHeader),
		maxConns: set.Limits.Connections,
		maxSess:  set.Session.Max,
	}
	if set.Policy.Hashes() {
		st.hash = set.Policy
	}
	if set.Limits.Rate != "" {
		n, per, err := sites.ParseRate(set.Limits.Rate)
		if err != nil {
			return nil, fmt.Errorf("compile site %q: limits.rate: %w", name, err)
		}
		st.rate.perSecond = float64(n) / per.Seconds()
		st.rate.burst = max(int(st.rate.perSecond), min(n, 10))
	}
	if set.Session.Logout != "" {
		var ok bool
		if st.logout, ok = route.NormalizePath(set.Session.Logout); !ok {
			return nil, fmt.Errorf("compile site %q: session.logout %q must begin with \"/\"", name, set.Session.Logout)
		}
	}
	if st.profile, err = sticky.ParseProfile(set.Session.Profile); err != nil {
		return nil, fmt.Errorf("compile site %q: %w", name, err)
	}
	if !st.sticky {
		st.profile = sticky.Profile{}
	} else {
		st.adopts = sticky.AdoptNames(set.Session.Adopt)
	}
	if st.check, err = probe.CompileCheck(set.Health); err != nil {
		return nil, fmt.Errorf("compile site %q: health: %w", name, err)
	}
	return st, nil
}

// UpstreamID is the id of an upstream of the configuration file, which has no agent to
// give it one. Cookies are made from it: the proxy and the export must mean the same.
func UpstreamID(site, name string) string { return site + "/" + name }

// or returns v, or def where v is the zero value.
func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
