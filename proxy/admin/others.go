package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/balancer"
	"portico/balancer/figures"
	"portico/deployhook"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// What proxies ask one another through AskOthers and AnswerPeer.
const (
	askCounts   = "counts"   // sessions and requests of each instance
	askSessions = "sessions" // a list of sessions
	askSession  = "session"  // one session by its id
	askSeek     = "seek"     // one by a cookie or token
	askMark     = "mark"     // end or move one
	askMoved    = "moved"    // tells which sessions have moved
	askEnded    = "ended"    // how drains have ended
)

// AnswerPeer answers another proxy of the cluster. Who asks has been checked.
func (s *Server) AnswerPeer(what string, in json.RawMessage) (any, error) {
	switch what {
	case askCounts:
		return s.ownCounts(), nil
	case askSessions:
		return answerPeer(in, func(q peerSessions) (any, error) {
			p, sessions, err := s.pool(q.Site)
			if err != nil {
				return api.SessionList{Site: q.Site}, nil
			}
			return listed(p, sessions, q.filter(), s.o.Now()), nil
		})
	case askSession:
		return answerPeer(in, func(q peerSession) (any, error) {
			found, _, err := s.sessionOf(q.Site, q.ID)
			if err != nil {
				return nil, err
			}
			return sessionInfo(&found), nil
		})
	case askSeek:
		return answerPeer(in, func(q peerSeek) (any, error) {
			p, _, err := s.pool(q.Site)
			if err != nil {
				return nil, err
			}
			return s.seekSession(p, q.Cookie, q.Token, s.o.Now()), nil
		})
	case askEnded:
		if s.o.Drains == nil {
			return []deployhook.EndedDrain{}, nil
		}
		return s.o.Drains.EndedDrains(), nil
	case askMark:
		return answerPeer(in, func(q peerMark) (any, error) { s.markSession(q, s.o.Now()); return struct{}{}, nil })
	case askMoved:
		return answerPeer(in, func(q []MovedSession) (any, error) { s.takeMoved(q); return struct{}{}, nil })
	}
	return nil, api.NotFound("", "proxies do not answer %q", what)
}

func answerPeer[T any](in json.RawMessage, answer func(T) (any, error)) (any, error) {
	var q T
	if err := json.Unmarshal(in, &q); err != nil {
		return nil, api.BadRequest("", "read question: %v", err)
	}
	return answer(q)
}

// eachOther asks the other proxies and gives take what each answers; it returns the names
// of those that did not.
func eachOther[T any](ctx context.Context, s *Server, what string, in any, take func(T)) (silent []string) {
	if s.o.AskOthers == nil {
		return nil
	}
	for _, a := range s.o.AskOthers(ctx, what, in) {
		var out T
		if a.Err != nil || json.Unmarshal(a.Body, &out) != nil {
			silent = append(silent, a.Proxy)
			continue
		}
		take(out)
	}
	return silent
}

// instanceCount is what a proxy holds for an instance.
type instanceCount struct {
	Sessions   int   `json:"sessions"`
	Recent     int64 `json:"recent"`
	InFlight   int   `json:"in_flight"`
	Recounting bool  `json:"recounting,omitempty"`
}

// ownCounts is what this proxy holds for each instance.
func (s *Server) ownCounts() map[string]instanceCount {
	out := map[string]instanceCount{}
	if s.o.Snapshot == nil {
		return out
	}
	for _, p := range s.o.Snapshot().Pools {
		for i := range p.Upstreams {
			u := &p.Upstreams[i]
			out[u.ID] = instanceCount{Sessions: u.Sessions, Recent: s.recent(u.ID), InFlight: u.InFlight, Recounting: u.Recounting}
		}
	}
	return out
}

// totals are pools with the sessions and requests of all proxies that answer. A
// session that two proxies have seen lately counts twice.
type totals struct {
	list   []figures.Pool
	others map[string]instanceCount // of the other proxies, by instance
	silent []string                 // proxies that did not answer
}

// everywhere returns the pools that a caller may see, over all proxies.
func (s *Server) everywhere(c *call) totals { return s.totals(c, s.snapshot(c.who).Pools) }

func (s *Server) totals(c *call, pools []figures.Pool) totals {
	t := totals{list: pools, others: map[string]instanceCount{}}
	t.silent = eachOther(c.r.Context(), s, askCounts, struct{}{}, func(counts map[string]instanceCount) {
		for id, n := range counts {
			sum := t.others[id]
			sum.Sessions, sum.Recent, sum.InFlight = sum.Sessions+n.Sessions, sum.Recent+n.Recent, sum.InFlight+n.InFlight
			sum.Recounting = sum.Recounting || n.Recounting
			t.others[id] = sum
		}
	})
	if len(t.others) == 0 && len(t.silent) == 0 {
		return t
	}
	for i := range t.list {
		p := &t.list[i]
		p.Upstreams = slices.Clone(p.Upstreams)
		for j := range p.Upstreams {
			u := &p.Upstreams[j]
			n := t.others[u.ID]
			u.Sessions, u.InFlight = u.Sessions+n.Sessions, u.InFlight+n.InFlight
			u.Recounting = u.Recounting || n.Recounting || len(t.silent) > 0
			p.Sessions, p.InFlight = p.Sessions+n.Sessions, p.InFlight+n.InFlight
			p.Recounting = p.Recounting || u.Recounting
		}
	}
	return t
}

// note says what is missing in the sums.
func (t *totals) note() []string {
	if len(t.silent) == 0 {
		return nil
	}
	return []string{"no answer from " + strings.Join(t.silent, ", ") + ": there may be more sessions"}
}

// peerSessions asks for a list.
type peerSessions struct {
	Site, Member, Instance, Release, ID string
	Idle                                time.Duration
	Limit                               int
}

func (q peerSessions) filter() sessionFilter {
	return sessionFilter{member: q.Member, instance: q.Instance, release: q.Release, id: q.ID, idle: q.Idle, limit: min(max(q.Limit, 1), maxSessions)}
}

// listEverywhere lists sessions of all proxies; one that several have seen stands
// there once, as who saw it last has it.
func (s *Server) listEverywhere(ctx context.Context, p *balancer.Pool, sessions *balancer.Sessions, f sessionFilter, now time.Time) api.SessionList {
	if s.o.AskOthers == nil {
		return listed(p, sessions, f, now)
	}
	wide := f
	wide.limit = maxSessions // more than are shown, so that who was seen twice is found out
	out := listed(p, sessions, wide, now)
	q := peerSessions{Site: p.Name(), Member: f.member, Instance: f.instance, Release: f.release, ID: f.id, Idle: f.idle, Limit: maxSessions}
	silent := eachOther(ctx, s, askSessions, q, func(more api.SessionList) { out = merged(out, more) })
	if len(silent) > 0 {
		out.Recounting = true
		out.Note = "no answer from " + strings.Join(silent, ", ") + ": there may be more sessions"
	}
	out.Sessions = out.Sessions[:min(len(out.Sessions), f.limit)]
	return out
}

// merged puts two proxies' lists together.
func merged(a, b api.SessionList) api.SessionList {
	at := make(map[string]int, len(a.Sessions))
	for i, in := range a.Sessions {
		at[in.ID] = i
	}
	both := 0
	for _, in := range b.Sessions {
		i, known := at[in.ID]
		if !known {
			a.Sessions = append(a.Sessions, in)
			continue
		}
		both++
		have := &a.Sessions[i]
		ended, moving, returned := have.Ended || in.Ended, have.Moving || in.Moving, have.Returned || in.Returned
		if in.Used.After(have.Used) {
			*have = in
		}
		have.Ended, have.Moving, have.Returned = ended, moving, returned
	}
	slices.SortStableFunc(a.Sessions, func(x, y api.SessionInfo) int { return y.Used.Compare(x.Used) })
	a.Total, a.Recounting = a.Total+b.Total-both, a.Recounting || b.Recounting
	return a
}

// peerSession asks for one session.
type peerSession struct{ Site, ID string }

// peerSeek asks for the session of a cookie or a token.
type peerSeek struct{ Site, Cookie, Token string }

// seekEverywhere finds a session by cookie or token at this proxy, or where its visitor
// was last.
func (s *Server) seekEverywhere(ctx context.Context, p *balancer.Pool, cookie, token string, now time.Time) api.SessionList {
	out := s.seekSession(p, cookie, token, now)
	if len(out.Sessions) > 0 && !out.Sessions[0].Used.IsZero() {
		return out
	}
	eachOther(ctx, s, askSeek, peerSeek{p.Name(), cookie, token}, func(more api.SessionList) {
		if len(more.Sessions) > 0 && (len(out.Sessions) == 0 || more.Sessions[0].Used.After(out.Sessions[0].Used)) {
			out = more
		}
	})
	return out
}

// anySession returns a site's session by its id, from whichever proxy knows it.
func (s *Server) anySession(ctx context.Context, site, id string) (api.SessionInfo, error) {
	in, _, err := s.sessionOf(site, id)
	if err == nil {
		return sessionInfo(&in), nil
	}
	var found *api.SessionInfo
	eachOther(ctx, s, askSession, peerSession{site, id}, func(more api.SessionInfo) {
		if found == nil || more.Used.After(found.Used) {
			found = &more
		}
	})
	if found == nil {
		return api.SessionInfo{}, err
	}
	return *found, nil
}

// endedEverywhere is how drains have ended, as the proxies that led them know it, the
// latest first.
func (s *Server) endedEverywhere(ctx context.Context) []deployhook.EndedDrain {
	out := s.o.Drains.EndedDrains()
	eachOther(ctx, s, askEnded, struct{}{}, func(more []deployhook.EndedDrain) { out = append(out, more...) })
	slices.SortStableFunc(out, func(a, b deployhook.EndedDrain) int { return b.At.Compare(a.At) })
	return out
}

// peerMark ends or moves a session at a proxy.
type peerMark struct {
	Site, ID, Instance string
	Started            time.Time
	End                bool
}

// markEverywhere ends or moves a session at every proxy, as its visitor may come to any.
func (s *Server) markEverywhere(ctx context.Context, q peerMark, now time.Time) (silent []string) {
	s.markSession(q, now)
	return eachOther(ctx, s, askMark, q, func(struct{}) {})
}

func (s *Server) markSession(q peerMark, now time.Time) {
	p, sessions, err := s.pool(q.Site)
	id, perr := strconv.ParseUint(q.ID, 16, 64)
	if err != nil || perr != nil {
		return
	}
	if u := p.Upstream(q.Instance); u != nil {
		sessions.MarkAt(id, u, q.Started.Unix(), q.End, now.UnixMilli())
	}
}

// MovedSession is a session that a proxy has placed on another instance.
type MovedSession struct {
	ID       string    `json:"id"`
	Instance string    `json:"instance"`
	At       time.Time `json:"at"`
}

// MovedSessions tells the other proxies where sessions are now, so that nobody waits for them
// where they were.
func (s *Server) MovedSessions(ctx context.Context, list []MovedSession) {
	eachOther(ctx, s, askMoved, list, func(struct{}) {})
}

// takeMoved notes where another proxy has placed sessions.
func (s *Server) takeMoved(list []MovedSession) {
	if s.o.Balancer == nil {
		return
	}
	view := s.o.Catalog.View()
	for _, m := range list {
		id, err := strconv.ParseUint(m.ID, 16, 64)
		if err != nil {
			continue
		}
		s.o.Balancer.Sessions().Elsewhere(id, s.upstream(view, m.Instance), m.At.UnixMilli())
	}
}

// upstream is the balancer's of an instance, or nil.
func (s *Server) upstream(view *catalog.View, instance string) *balancer.Upstream {
	in := view.Instances[instance]
	if in == nil {
		return nil
	}
	p := s.o.Balancer.Pool(in.Site)
	if p == nil {
		return nil
	}
	return p.Upstream(instance)
}

// SessionID writes a session's number as routes and lists have it.
func SessionID(id uint64) string { return sessionID(id) }

// changeAt carries out the end or the move of a session; API and page both come here.
func (s *Server) changeAt(ctx context.Context, site, id string, end bool, now time.Time) (api.SessionInfo, error) {
	in, err := s.anySession(ctx, site, id)
	if err != nil {
		return in, err
	}
	if in.Ended {
		return in, api.Failf(http.StatusConflict, "conflict", "", "session %s has ended already", in.ID)
	}
	in.Silent = s.markEverywhere(ctx, peerMark{Site: site, ID: in.ID, Instance: in.Instance, Started: in.Started, End: end}, now)
	in.Ended, in.Moving = end, in.Moving || !end
	return in, nil
}
