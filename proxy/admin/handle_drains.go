package admin

import (
	"net/http"
	"strings"
	"time"

	"portico/deployhook"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
	"portico/proxy/admin/forecast"
)

// listDrains answers GET /v1/drains.
func (s *Server) listDrains(c *call) error {
	if s.o.Drains == nil {
		return refusal.NotOffered("drains")
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

// lastEnded are the last outcomes that a page shows, of one site or of all.
func (s *Server) lastEnded(c *call, site string) []deployhook.EndedDrain {
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

// atOnce is what the audit says of the end of a former release.
const atOnce = "at once"

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
	digest, err := s.deeds.PickRelease(site, c.r.PathValue("release"))
	if err != nil {
		return err
	}
	if c.dry {
		return c.json(http.StatusOK, forecast.Release(site.Name, digest, in.Now, s.siteEverywhere(c, site.Name)))
	}
	c.object = site.Name + "@" + ids.ShortRelease(digest)
	if in.Now {
		c.detail = atOnce
		err = s.deeds.EndRelease(c.r.Context(), c.who.Account, site.Name, digest)
	} else {
		err = s.deeds.Drain(c.r.Context(), c.who.Account, c.now, deployhook.Target{Site: site.Name, Release: digest}, in)
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, s.drains(c))
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
	if deeds.InstanceState(verb) == "" {
		return refusal.NotFound("use drain, ready or maint", "there is no verb %q", api.Bounded(verb, 40))
	}
	id, err := s.deeds.PickInstance(site, c.r.PathValue("instance"))
	if err != nil {
		return err
	}
	if c.dry {
		return c.json(http.StatusOK, forecast.Instance(verb, site.Name, id, s.siteEverywhere(c, site.Name)))
	}
	c.object, c.action = site.Name+"/"+id, verb+" instance"
	if err := s.deeds.Instance(c.r.Context(), c.who.Account, c.now, verb, site.Name, id, in); err != nil {
		return err
	}
	return c.json(http.StatusOK, s.drains(c))
}
