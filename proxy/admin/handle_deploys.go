package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"portico/conf/sites"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
	"portico/proxy/admin/streams"
)

func (s *Server) listDeploys(c *call) error {
	site := c.r.URL.Query().Get("site")
	out := []*catalog.Deploy{}
	for _, d := range s.o.Catalog.View().Deploys {
		if c.who.Sees(d.Site) && (site == "" || d.Site == site) {
			out = append(out, d)
		}
	}
	return c.json(http.StatusOK, out)
}

// deploy returns the deploy in the path, if the caller may see its site.
func (s *Server) deploy(c *call) (*catalog.Deploy, error) {
	id := c.r.PathValue("deploy")
	d := s.o.Catalog.View().Deploy(id)
	if d == nil || !c.who.Sees(d.Site) {
		return nil, refusal.NotFound("", "there is no deploy %q", id)
	}
	return d, nil
}

func (s *Server) getDeploy(c *call) error {
	d, err := s.deploy(c)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, d)
}

// archive hands an upload to the receiver, behind deadlines that move with the
// bytes.
func (s *Server) archive(c *call) error {
	if s.o.Archive == nil {
		return refusal.NotOffered("deploys")
	}
	if err := sites.ValidName("site", c.r.PathValue("site")); err != nil {
		return err
	}
	c.dry = c.dry || c.r.URL.Query().Get("dry_run") == "1"
	c.r.Body = streams.NewUpload(c.r.Context(), c.w, c.r.Body, c.now)
	w := &streams.Watched{ResponseWriter: c.w}
	if err := s.take(c, w, c.r); err != nil {
		return err
	}
	if w.Status >= 400 {
		c.detail = "answered " + strconv.Itoa(w.Status)
		s.record(c, errors.New(c.detail))
		c.quiet = true
	}
	return nil
}

// take hands an upload to the receiver, unless too many are under way.
func (s *Server) take(c *call, w http.ResponseWriter, r *http.Request) error {
	if s.o.Archive == nil {
		return refusal.NotOffered("deploys")
	}
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		c.w.Header().Set("Retry-After", "10")
		return refusal.New(http.StatusServiceUnavailable, "busy", "try again in a moment", "%d uploads are under way", maxUploads)
	}
	s.o.Archive.ServeHTTP(w, r)
	return nil
}

func (s *Server) rollback(c *call) error {
	var in api.RollbackRequest
	if err := c.input(&in); err != nil {
		return err
	}
	site, err := s.site(c)
	if err != nil {
		return err
	}
	target, err := s.deeds.RollbackTarget(site, in.Release)
	if err != nil {
		return err
	}
	if c.dry {
		return c.json(http.StatusOK, s.forecastSite("rollback", site.Name, target, in.NoPin, s.siteEverywhere(c, site.Name)))
	}
	c.detail = deeds.RollbackDetail(target, in.NoPin)
	d, err := s.deeds.RollBack(c.r.Context(), c.who.Account, site.Name, target, in.NoPin)
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, d)
}

// deployEvents streams a deploy as server-sent events. The last one is named
// "end".
func (s *Server) deployEvents(c *call) error {
	d, err := s.deploy(c)
	if err != nil {
		return err
	}
	if s.o.Deploys == nil {
		return refusal.NotOffered("deploys")
	}
	out := streams.NewEvents(c.w)
	stop := out.Beat(api.Heartbeat)
	err = s.o.Deploys.Events(c.r.Context(), d.ID, func(e messages.Event) error {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return out.Send("data: " + string(b) + "\n\n")
	})
	stop()
	if err != nil {
		return nil // the stream has begun: it ends without "end", and the client comes back
	}
	_ = out.Send("event: end\ndata: {}\n\n")
	return nil
}

// cancelDeploy answers POST /v1/sites/{site}/cancel.
func (s *Server) cancelDeploy(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	d, err := s.deeds.Cancel(c.r.Context(), c.who.Account, site.Name)
	if err != nil {
		return err
	}
	c.detail = d.ID
	return c.json(http.StatusOK, d)
}
