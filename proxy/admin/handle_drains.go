package admin

import (
	"net/http"
	"strings"
	"time"

	"portico/deployhook"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
	"portico/proxy/admin/forecast"
)

// maxDrain bounds deadlines and quiet times of drains.
const maxDrain = 365 * 24 * time.Hour

// listDrains answers GET /v1/drains.
func (s *Server) listDrains(c *call) error {
	if s.o.Drains == nil {
		return api.NotOffered("drains")
	}
	return c.json(http.StatusOK, s.drains(c))
}

// lookedBack is how many entries of the audit are searched for outcomes.
const lookedBack = 1000

// endedDrains answers GET /v1/drains/ended: how the last drains ended, the latest first,
// as the audit has it.
func (s *Server) endedDrains(c *call) error {
	entries, err := s.o.Catalog.Audit(c.r.Context(), lookedBack)
	if err != nil {
		return err
	}
	out := []api.DrainOutcome{}
	for _, e := range entries {
		site, _, _ := strings.Cut(strings.ReplaceAll(e.Object, "@", "/"), "/")
		if e.Action == "drain ended" && len(out) < 100 && (len(c.who.Sites) == 0 || site != e.Object && c.who.Sees(site)) {
			o := api.DrainOutcome{Object: e.Object, At: e.At, Outcome: e.Detail}
			if e.Drain != nil {
				o.DrainOutcome, o.Empty = *e.Drain, e.Drain.How == catalog.DrainEmpty
			}
			out = append(out, o)
		}
	}
	return c.json(http.StatusOK, out)
}

// drains returns the drains that the caller may see.
func (s *Server) drains(c *call) []deployhook.Drain {
	out := []deployhook.Drain{}
	if s.o.Drains == nil {
		return out
	}
	for _, d := range s.o.Drains.Drains() {
		if len(c.who.Sites) == 0 || d.Site != "" && c.who.Sees(d.Site) {
			out = append(out, d)
		}
	}
	return out
}

// maxEndedShown is how many outcomes of drains a page shows, and endedShown for how long.
const (
	maxEndedShown = 5
	endedShown    = 24 * time.Hour
)

// endedViews are the last outcomes that a page shows, of one site or of all.
func (s *Server) endedViews(c *call, site string) []deployhook.EndedDrain {
	var out []deployhook.EndedDrain
	if s.o.Drains == nil {
		return nil
	}
	for _, e := range s.all.Ended(c.r.Context()) {
		visible := len(c.who.Sites) == 0 || e.Site != "" && c.who.Sees(e.Site)
		if visible && (site == "" || e.Site == site) && c.now.Sub(e.At) < endedShown && len(out) < maxEndedShown {
			out = append(out, e)
		}
	}
	return out
}

// order reads how to drain from a request.
func order(c *call, in *api.DrainRequest) (catalog.DrainOrder, error) {
	o := catalog.DrainOrder{Since: c.now.UTC(), By: c.who.Account}
	move, err := api.Duration(in.Move, 0, maxDrain)
	if err != nil {
		return o, err
	}
	o.Move = units.Duration(move)
	deadline, err := api.Duration(in.Deadline, 0, maxDrain)
	if err == nil && deadline > 0 {
		o.Deadline = o.Since.Add(deadline)
	}
	return o, err
}

// drain carries out an order; every route and the page come here.
func (s *Server) drain(c *call, t deployhook.Target, in api.DrainRequest) error {
	if s.o.Drains == nil {
		return api.NotOffered("drains")
	}
	o, err := order(c, &in)
	if err != nil {
		return err
	}
	return s.o.Drains.Drain(c.r.Context(), t, o)
}

// drainRelease answers POST /v1/sites/{site}/releases/{release}/drain.
func (s *Server) drainRelease(c *call) error {
	var in api.DrainRequest
	if err := c.input(&in); err != nil {
		return err
	}
	site, err := s.site(c)
	if err != nil {
		return err
	}
	digest, err := s.pickRelease(site, c.r.PathValue("release"))
	if err != nil {
		return err
	}
	if c.dry {
		return c.json(http.StatusOK, forecast.Release(site.Name, digest, in.Now, s.everywhere(c)))
	}
	c.object = site.Name + "@" + catalog.ShortRelease(digest)
	if in.Now {
		err = s.endRelease(c, site.Name, digest)
	} else {
		err = s.drain(c, deployhook.Target{Site: site.Name, Release: digest}, in)
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, s.drains(c))
}

// endRelease ends a former release at once; API and page both come here.
func (s *Server) endRelease(c *call, site, digest string) error {
	c.detail = "at once"
	if s.o.Drains == nil {
		return api.NotOffered("drains")
	}
	if rec := s.o.Catalog.View().Sites[site]; rec != nil && digest == rec.Release {
		return api.Failf(http.StatusConflict, "conflict", "deploy another or roll back first", "%s is the present release of site %q", catalog.ShortRelease(digest), site)
	}
	return s.o.Drains.EndRetiring(c.r.Context(), site, digest, c.who.Account)
}

// instanceVerb answers POST /v1/sites/{site}/instances/{instance}/drain|ready|maint.
func (s *Server) instanceVerb(c *call) error {
	var in api.DrainRequest
	if err := c.input(&in); err != nil {
		return err
	}
	site, err := s.site(c)
	if err != nil {
		return err
	}
	verb := c.r.PathValue("verb")
	if instanceState(verb) == "" {
		return api.NotFound("use drain, ready or maint", "there is no verb %q", api.Bounded(verb, 40))
	}
	id, err := s.pickInstance(site, c.r.PathValue("instance"))
	if err != nil {
		return err
	}
	if c.dry {
		return c.json(http.StatusOK, forecast.Instance(verb, site.Name, id, s.everywhere(c)))
	}
	c.object, c.action = site.Name+"/"+id, verb+" instance"
	if err := s.actInstance(c, verb, site.Name, id, in); err != nil {
		return err
	}
	return c.json(http.StatusOK, s.drains(c))
}

// instanceState is what a verb makes of an instance; empty: there is no such verb.
func instanceState(verb string) catalog.AdminState {
	return map[string]catalog.AdminState{api.VerbDrain: catalog.AdminDrain, api.VerbReady: catalog.AdminReady, api.VerbMaint: catalog.AdminMaint}[verb]
}

// actInstance does a verb; API and page both come here.
func (s *Server) actInstance(c *call, verb, site, id string, in api.DrainRequest) error {
	if verb == api.VerbDrain {
		return s.drain(c, deployhook.Target{Site: site, Instance: id}, in)
	}
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		_, err := command.SetInstanceAdmin(tx, site, id, instanceState(verb), catalog.DrainOrder{})
		return err
	})
	return err
}

// pickInstance finds an instance of a site by the beginning of its id.
func (s *Server) pickInstance(site *catalog.Site, prefix string) (string, error) {
	var found []string
	for id, in := range s.o.Catalog.View().Instances {
		if in.Site == site.Name && len(prefix) >= 4 && strings.HasPrefix(id, prefix) {
			found = append(found, id)
		}
	}
	if len(found) != 1 {
		return "", api.NotFound("portico sessions "+site.Name+" lists them; at least four characters are wanted", "site %q has %s whose id begins with %q", site.Name, api.Count(int64(len(found)), "instance"), api.Bounded(prefix, 40))
	}
	return found[0], nil
}
