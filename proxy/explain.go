package proxy

import (
	"fmt"
	"net/url"
	"time"

	"portico/balancer"
)

// Step is one decision on the way of a request.
type Step struct {
	Step   string `json:"step"`   // "host", "site", "cookie", "instance" …
	Result string `json:"result"` // in a few words
	Detail string `json:"detail,omitempty"`
}

// Explain says step by step where a request for rawURL with a sticky cookie of
// this value (empty: none) would go now, and why. It sends nothing, counts
// nothing and begins no session.
func (s *Server) Explain(rawURL, cookie string) ([]Step, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("explain %q: write a whole URL, such as https://shop.example.com/basket", rawURL)
	}
	var steps []Step
	say := func(step, result, format string, args ...any) {
		steps = append(steps, Step{step, result, fmt.Sprintf(format, args...)})
	}
	t := s.table.Load()
	host, ok := ParseHost(u.Host)
	if !ok {
		say("host", "refused", "%q is not a valid Host: 400", u.Host)
		return steps, nil
	}
	say("host", host, "%s", t.explainHost(host))
	raw := or(u.EscapedPath(), "/")
	path, ok := NormalizePath(raw)
	if !ok {
		say("path", "refused", "%q is not a valid path: 400", raw)
		return steps, nil
	}
	say("path", path, "matched in this form, forwarded as it came")
	st := t.lookup(host, path)
	if st == nil {
		say("site", "none", "no site answers for this host and path: 404")
		return steps, nil
	}
	say("site", st.name, "mount path %s, catalog revision %d", st.mount, t.revision)
	if u.Scheme == "http" {
		if to := s.redirectTarget(st, host, raw); to != "" {
			say("redirect", to, "308, because a certificate can be served (redirect = %q)", st.redirect)
			return steps, nil
		}
	}
	s.explainPick(st, cookie, say)
	return steps, nil
}

// explainHost says by which rule a host is served.
func (t *table) explainHost(host string) string {
	r := t.host(host)
	if len(r) == 0 {
		return "no site names it, and none answers for all hosts"
	}
	if _, ok := t.exact[host]; ok {
		return "named by a site"
	}
	if len(r[0].hosts) == 0 {
		return "named by no site, so those without hosts answer"
	}
	return "covered by a wildcard"
}

// explainPick describes the pool and what the cookie says.
func (s *Server) explainPick(st *site, cookie string, say func(step, result, format string, args ...any)) {
	now := time.Now()
	snap := st.siteState.pool.Snapshot(now.UnixMilli())
	ready := 0
	for _, u := range snap.Upstreams {
		if u.InRotation {
			ready++
		}
		say("instance", u.Name, "%s, sessions %d, requests %d, token %s, release %.12s: %s", u.Status, u.Sessions, u.InFlight, u.Token, u.Release, u.Reason)
	}
	switch {
	case !st.sticky:
		say("session", "none", "the site is not sticky")
	case cookie == "":
		say("session", "new", "no cookie %s in the request", st.cookie)
	default:
		if s.explainCookie(st, cookie, snap, say) {
			return
		}
	}
	if ready == 0 {
		say("choice", "none or a guess", "no instance is in rotation: a new visitor gets one that may still answer, or 503")
		return
	}
	say("choice", "by policy "+snap.Policy, "one of %d instances in rotation", ready)
}

// explainCookie reports whether the cookie decides.
func (s *Server) explainCookie(st *site, cookie string, snap balancer.PoolSnapshot, say func(step, result, format string, args ...any)) bool {
	token := cookie
	if len(token) > 10 {
		token = token[:10]
	}
	for _, u := range snap.Upstreams {
		if u.Token != token {
			continue
		}
		if u.State == balancer.Down || u.Admin == balancer.AdminMaint {
			say("session", "lost", "the cookie names %s, which is %s: the visitor moves once and is told by %s", u.Name, u.Status, SessionLostHeader)
			return false
		}
		say("session", "pinned", "the cookie names %s", u.Name)
		say("choice", u.Name, "the session is there, if the cookie's seal is sound and its session has not ended")
		return true
	}
	say("session", "unknown", "no instance has the token %q: a new session, or one whose instance is gone", token)
	return false
}
