package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

const (
	defaultSessions = 100
	maxSessions     = 10000
)

// sessionID writes a session's number as people and URLs see it: 16 hexadecimal
// digits. It opens nothing: the cookie's seal does.
func sessionID(id uint64) string { return fmt.Sprintf("%016x", id) }

// pool returns the pool of a site, and the table of sessions.
func (s *Server) pool(name string) (*balancer.Pool, *balancer.Sessions, error) {
	if s.o.Balancer == nil {
		return nil, nil, api.NotOffered("sessions")
	}
	p := s.o.Balancer.Pool(name)
	if p == nil {
		return nil, nil, s.noSite(name)
	}
	return p, s.o.Balancer.Sessions(), nil
}

// listSessions answers GET /v1/sessions/{site}.
func (s *Server) listSessions(c *call) error {
	p, sessions, err := s.pool(c.r.PathValue("site"))
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	if q.Has("cookie") || q.Has("token") {
		return c.json(http.StatusOK, s.seekEverywhere(c.r.Context(), p, q.Get("cookie"), q.Get("token"), c.now))
	}
	limit := defaultSessions
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxSessions {
			return api.BadRequest(fmt.Sprintf("use 1 to %d", maxSessions), "limit %q", text)
		}
	}
	idle, err := api.Duration(q.Get("idle"), 0, 10*365*24*time.Hour)
	if err != nil {
		return err
	}
	f := sessionFilter{member: q.Get("member"), instance: q.Get("instance"), release: q.Get("release"), id: strings.ToLower(q.Get("id")), idle: idle, limit: limit}
	return c.json(http.StatusOK, s.listEverywhere(c.r.Context(), p, sessions, f, c.now))
}

// sessionFilter says which sessions are wanted; empty fields match all.
type sessionFilter struct {
	member, instance, release, id string // of the last three, the beginning
	idle                          time.Duration
	limit                         int
}

// listed lists sessions of a pool, the most recently used first.
func listed(p *balancer.Pool, sessions *balancer.Sessions, f sessionFilter, now time.Time) api.SessionList {
	latest := now.Add(-f.idle).Unix()
	list, total := sessions.List(p.Name(), f.limit, func(in *balancer.SessionInfo) bool {
		spec := in.Upstream.Spec()
		return in.Last <= latest && (f.member == "" || spec.Member == f.member) &&
			strings.HasPrefix(spec.ID, f.instance) && catalog.NamesRelease(f.release, spec.Release) &&
			(f.id == "" || strings.HasPrefix(sessionID(in.ID), f.id))
	})
	out := api.SessionList{Site: p.Name(), Total: total, Sessions: make([]api.SessionInfo, 0, len(list))}
	for _, u := range p.Upstreams() {
		_, _, known := p.Load(u.ID(), now.UnixMilli())
		out.Recounting = out.Recounting || !known
	}
	for i := range list {
		out.Sessions = append(out.Sessions, sessionInfo(&list[i]))
	}
	return out
}

// seekSession finds the session that a sticky cookie or the application's own token
// names, as the proxy would with the visitor's next request, and changes nothing. Where a
// Cookie field has no sticky cookie that is good, one of the application's in it will do.
func (s *Server) seekSession(p *balancer.Pool, cookie, token string, now time.Time) api.SessionList {
	r := balancer.Request{Now: now.UnixMilli(), Cookie: []byte(s.stickyValue(p.Name(), cookie))}
	l := p.Preview(&r)
	for _, t := range tokensIn(cookie, token) {
		if l.By != "" {
			break
		}
		r.App = s.o.Balancer.HashApp([]byte(t))
		if found := p.Preview(&r); found.By != "" {
			l = found
		}
	}
	out := api.SessionList{Site: p.Name(), Sessions: []api.SessionInfo{}}
	switch {
	case l.By == "" && l.Refused != seal.Honoured:
		out.Note = "the cookie would be refused (" + l.Refused.String() + "): its visitor would begin anew"
	case l.By == "" && token != "" && !s.learns(p.Name()):
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
			in.ID = sessionID(l.Session)
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
func (s *Server) learns(site string) bool {
	rec := s.o.Catalog.View().Sites[site]
	if rec == nil {
		return false
	}
	set, err := rec.Effective()
	return err == nil && set.Session.Profile != ""
}

// stickyValue takes a site's sticky cookie out of a whole Cookie field; a value alone
// is taken as it is.
func (s *Server) stickyValue(site, field string) string {
	name := "portico-" + site
	if rec := s.o.Catalog.View().Sites[site]; rec != nil {
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

func sessionInfo(in *balancer.SessionInfo) api.SessionInfo {
	spec := in.Upstream.Spec()
	return api.SessionInfo{
		ID: sessionID(in.ID), Instance: spec.ID, Member: spec.Member, Release: spec.Release,
		Started: time.Unix(in.Start, 0).UTC(), Used: time.Unix(in.Last, 0).UTC(),
		Returned: in.Returned, Ended: in.Ended, Moving: in.Moving,
	}
}

// sessionOf returns a site's session by its id.
func (s *Server) sessionOf(site, text string) (balancer.SessionInfo, *balancer.Sessions, error) {
	p, sessions, err := s.pool(site)
	if err != nil {
		return balancer.SessionInfo{}, nil, err
	}
	id, err := strconv.ParseUint(text, 16, 64)
	if err != nil || len(text) != 16 {
		return balancer.SessionInfo{}, nil, api.BadRequest("portico sessions SITE --list shows them", "%q is no session id: 16 hexadecimal digits", api.Bounded(text, 40))
	}
	in, ok := sessions.Find(id)
	if !ok || in.Upstream == nil || p.Upstream(in.Upstream.ID()) != in.Upstream {
		return balancer.SessionInfo{}, nil, api.NotFound("it may have ended, or not have come back since this proxy started", "site %q has no session %s", site, text)
	}
	return in, sessions, nil
}

// getSession answers GET /v1/sessions/{site}/{id}.
func (s *Server) getSession(c *call) error {
	in, err := s.anySession(c.r.Context(), c.r.PathValue("site"), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, in)
}

func (s *Server) endSession(c *call) error  { return s.changeSession(c, true) }
func (s *Server) moveSession(c *call) error { return s.changeSession(c, false) }

// changeSession ends or moves one session. Both are marks that the visitor's next
// request meets, at whichever proxy, so nothing that runs is cut.
func (s *Server) changeSession(c *call, end bool) error {
	site, id := c.r.PathValue("site"), c.r.PathValue("id")
	in, err := s.changeAt(c.r.Context(), site, id, end, c.now)
	if err != nil {
		return err
	}
	c.object, c.detail = site+" "+id, "on "+cmp.Or(in.Member, in.Instance)+in.Silence()
	return c.json(http.StatusOK, in)
}

// sessions answers GET /v1/sessions.
func (s *Server) sessions(c *call) error {
	site := c.r.URL.Query().Get("site")
	out := []api.SessionCount{}
	pools := s.everywhere(c)
	for _, p := range pools.list {
		if site != "" && p.Name != site {
			continue
		}
		for i := range p.Upstreams {
			u := &p.Upstreams[i]
			out = append(out, api.SessionCount{
				Site: p.Name, Instance: u.ID, Member: u.Member, Release: u.Release, State: u.Status,
				Sessions: int64(u.Sessions), Recent: s.recent(u.ID) + pools.others[u.ID].Recent, Limit: int64(u.MaxSessions),
				Unpinned: u.Unpinned, Recounting: u.Recounting,
			})
		}
	}
	return c.json(http.StatusOK, out)
}
