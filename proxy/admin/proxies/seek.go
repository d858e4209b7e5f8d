package proxies

import (
	"context"
	"strings"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/proxy/admin/api"
)

// Seek finds a session by cookie or token at this proxy, or where its visitor
// was last.
func (a *All) Seek(ctx context.Context, p *balancer.Pool, cookie, token string, now time.Time) api.SessionList {
	out := a.seekSession(p, cookie, token, now)
	if len(out.Sessions) > 0 && !out.Sessions[0].Used.IsZero() {
		return out
	}
	eachOther(ctx, a, askSeek, peerSeek{p.Name(), cookie, token}, func(more api.SessionList) {
		if len(more.Sessions) > 0 && (len(out.Sessions) == 0 || more.Sessions[0].Used.After(out.Sessions[0].Used)) {
			out = more
		}
	})
	return out
}

// peerSeek asks for the session of a cookie or a token.
type peerSeek struct{ Site, Cookie, Token string }

// seekSession finds the session that a sticky cookie or the application's own token
// names, as the proxy would with the visitor's next request, and changes nothing. Where a
// Cookie field has no sticky cookie that is good, one of the application's in it will do.
func (a *All) seekSession(p *balancer.Pool, cookie, token string, now time.Time) api.SessionList {
	r := balancer.Request{Now: now.UnixMilli(), Cookie: []byte(a.stickyValue(p.Name(), cookie))}
	l := p.Preview(&r)
	for _, t := range tokensIn(cookie, token) {
		if l.By != "" {
			break
		}
		r.App = a.Balancer.HashApp([]byte(t))
		if found := p.Preview(&r); found.By != "" {
			l = found
		}
	}
	out := api.SessionList{Site: p.Name(), Sessions: []api.SessionInfo{}}
	switch {
	case l.By == "" && l.Refused != seal.Honoured:
		out.Note = "the cookie would be refused (" + l.Refused.String() + "): its visitor would begin anew"
	case l.By == "" && token != "" && !a.learns(p.Name()):
		out.Note = "the site has no session.profile, so no token of its application is known"
	case l.By == "":
		out.Note = "no session of this site that this proxy knows has it"
	case l.Home == nil:
		out.Note = "its session was on " + l.From + ", which is gone: the visitor moves with the next request"
	default:
		spec := l.Home.Spec()
		in := api.SessionInfo{
			Instance: spec.ID, Member: spec.Member, Release: spec.Release, Started: time.Unix(l.Start, 0).UTC(),
			Ended: l.Ended, Moving: l.Moving,
		}
		if l.Session != 0 {
			in.ID = SessionID(l.Session)
		}
		if l.Used > 0 {
			in.Used, in.Returned = time.Unix(l.Used, 0).UTC(), true
		} else {
			out.Note = "it has not come back since this proxy started"
		}
		if l.By == "token" && in.ID == "" {
			out.Note = "the application's token leads there, but the session is not in this proxy's table: it will be with its visitor's next request"
		}
		out.Total, out.Sessions = 1, append(out.Sessions, in)
	}
	return out
}

// tokensIn lists what may be a token of the application in what somebody pasted: a token
// alone, with and without the route that Tomcat appends, or one in a Cookie field.
func tokensIn(cookie, token string) (list []string) {
	add := func(t string) {
		t = strings.Trim(strings.TrimSpace(t), `"`)
		if t == "" {
			return
		}
		list = append(list, t)
		if bare, route, ok := strings.Cut(t, "."); ok && bare != "" && route != "" {
			list = append(list, bare)
		}
	}
	add(token)
	for pair := range strings.SplitSeq(cookie, ";") {
		if _, value, ok := strings.Cut(pair, "="); ok {
			add(value)
		}
	}
	if !strings.Contains(cookie, "|") { // a token may have an equals sign in it
		add(cookie)
	}
	return list
}

// learns reports whether a site's application tokens are looked for.
func (a *All) learns(site string) bool {
	rec := a.Catalog.View().Sites[site]
	if rec == nil {
		return false
	}
	set, err := rec.Effective()
	return err == nil && set.Session.Profile != ""
}

// stickyValue takes a site's sticky cookie out of a whole Cookie field; a value alone
// is taken as it is.
func (a *All) stickyValue(site, field string) string {
	name := "portico-" + site
	if rec := a.Catalog.View().Sites[site]; rec != nil {
		if set, err := rec.Effective(); err == nil {
			name = set.Session.Cookie
		}
	}
	for pair := range strings.SplitSeq(field, ";") {
		if n, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == name {
			return strings.Trim(value, `"`)
		}
	}
	return strings.TrimSpace(field)
}
