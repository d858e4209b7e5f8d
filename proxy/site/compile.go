package site

import (
	"fmt"
	"strings"

	"portico/balancer"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy/probe"
	"portico/proxy/route"
	"portico/proxy/sticky"
)

// Compile turns a catalog record into what the data path uses. An error
// names the setting; the site then keeps what it had.
func Compile(rec *catalog.Site) (*Site, error) {
	set, err := rec.Effective()
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	st, err := CompileSettings(rec.Name, set)
	if err != nil {
		return nil, err
	}
	st.Source = rec
	return st, nil
}

// CompileSettings takes settings whose defaults are filled in.
func CompileSettings(name string, set sites.Settings) (*Site, error) {
	rule, err := route.NewRule(set.Hosts, set.Path)
	if err != nil {
		return nil, fmt.Errorf("compile site %q: %w", name, err)
	}
	rule.TLSMode, rule.Redirect, rule.Private = set.TLS.Mode, set.TLS.Redirect, set.Session.Connection == sites.ConnectionPrivate
	if set.Session.Sticky == sites.StickyNone {
		set.Session.Patience = 0 // there is nothing to wait for
	}
	st := &Site{
		Name: name, Rule: rule, Strip: set.Strip && rule.Mount != "/",
		Sticky: set.Session.Sticky != sites.StickyNone,
		Cookie: sticky.NewCookie(rule.Mount, set.Session),

		Underscores: set.Underscores == sites.UnderscoresPass,
		HTTP2:       set.Protocol == sites.ProtocolH2C,
		Rewrites:    rewritesOf(set.Rewrite),

		WantsNotice: set.Session.Notice,
		Body:        set.Limits.Body.Bytes(),
		PoolConfig: balancer.Config{
			Policy:    set.Policy,
			NotSticky: set.Session.Sticky == sites.StickyNone,
			Idle:      set.Session.Idle.Std(),
			Life:      set.Session.Life.Std(),
			Health: balancer.HealthRules{
				Rise: set.Health.Rise, Fall: set.Health.Fall,
				Grace: agentGrace, Restart: AgentRestart, Slow: slowGrace, Patience: set.Session.Patience.Std(),
			},
			Queue:     set.Limits.Queue.Std(),
			Rebalance: set.Session.Rebalance,
			HashBound: set.PolicyBound,
			SlowStart: set.SlowStart.Std(),
		},
		hashBy:      strings.ToLower(set.PolicyHeader),
		MaxConns:    set.Limits.Connections,
		MaxSessions: set.Session.Max,
	}
	if set.Policy.Hashes() {
		st.Hash = set.Policy
	}
	if set.Limits.Rate != "" {
		n, per, err := sites.ParseRate(set.Limits.Rate)
		if err != nil {
			return nil, fmt.Errorf("compile site %q: limits.rate: %w", name, err)
		}
		st.Rate.PerSecond = float64(n) / per.Seconds()
		st.Rate.Burst = max(int(st.Rate.PerSecond), min(n, 10))
	}
	if set.Session.Logout != "" {
		var ok bool
		if st.Logout, ok = route.NormalizePath(set.Session.Logout); !ok {
			return nil, fmt.Errorf("compile site %q: session.logout %q must begin with \"/\"", name, set.Session.Logout)
		}
	}
	if st.Profile, err = sticky.ParseProfile(set.Session.Profile); err != nil {
		return nil, fmt.Errorf("compile site %q: %w", name, err)
	}
	if !st.Sticky {
		st.Profile = sticky.Profile{}
	} else {
		st.AdoptCookies = sticky.AdoptNames(set.Session.Adopt)
	}
	if st.Check, err = probe.CompileCheck(set.Front); err != nil {
		return nil, fmt.Errorf("compile site %q: health: %w", name, err)
	}
	return st, nil
}
