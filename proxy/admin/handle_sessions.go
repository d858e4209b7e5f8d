package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"portico/internal/refusal"
	"portico/proxy/admin/api"
	"portico/proxy/admin/proxies"
)

const defaultSessions = 100

// listSessions answers GET /v1/sessions/{site}.
func (s *Server) listSessions(c *call) error {
	p, err := s.all.Pool(c.r.PathValue("site"))
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	if q.Has("cookie") || q.Has("token") {
		return c.json(http.StatusOK, s.all.Seek(c.r.Context(), p, q.Get("cookie"), q.Get("token"), c.now))
	}
	limit := defaultSessions
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > proxies.MaxSessions {
			return refusal.BadRequest(fmt.Sprintf("use 1 to %d", proxies.MaxSessions), "limit %q", text)
		}
	}
	idle, err := api.Duration(q.Get("idle"), 0, 10*365*24*time.Hour)
	if err != nil {
		return err
	}
	f := proxies.Filter{Member: q.Get("member"), Instance: q.Get("instance"), Release: q.Get("release"), ID: strings.ToLower(q.Get("id")), Idle: idle, Limit: limit}
	return c.json(http.StatusOK, s.all.List(c.r.Context(), p, f, c.now))
}

// getSession answers GET /v1/sessions/{site}/{id}.
func (s *Server) getSession(c *call) error {
	in, err := s.all.Session(c.r.Context(), c.r.PathValue("site"), c.r.PathValue("id"))
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
	in, err := s.all.Change(c.r.Context(), site, id, end, c.now)
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
	var pools proxies.Totals
	switch {
	case site == "":
		pools = s.everywhere(c)
	case c.who.Sees(site):
		pools = s.siteEverywhere(c, site)
	}
	for _, p := range pools.Pools {
		for i := range p.Upstreams {
			u := &p.Upstreams[i]
			out = append(out, api.SessionCount{
				Site: p.Name, Instance: u.ID, Member: u.Member, Release: u.Release, State: u.Status,
				Sessions: int64(u.Sessions), Recent: pools.Recent(u.ID), Limit: int64(u.MaxSessions),
				Unpinned: u.Unpinned, Recounting: u.Recounting,
			})
		}
	}
	return c.json(http.StatusOK, out)
}
