package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"portico/balancer/figures"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
	"portico/proxy/admin/proxies"
)

// labelMember gives an application server the labels that the body names, and no others.
func (s *Server) labelMember(c *call) error {
	var in api.LabelsRequest
	if err := c.input(&in); err != nil {
		return err
	}
	name := c.r.PathValue("member")
	view := s.o.Catalog.View()
	before, err := memberOf(view, name)
	if err != nil {
		return err
	}
	pools := s.everywhere(c)
	after := *before
	after.Labels = in.Labels
	f := s.forecastMove(api.VerbLabels, name, pools, s.placementOf(view, &after))
	if c.dry {
		return c.json(http.StatusOK, f)
	}
	var m catalog.Member
	if _, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) (err error) {
		m, err = command.LabelMember(tx, name, in.Labels)
		return err
	}); err != nil {
		return err
	}
	c.detail = strings.Join(m.Labels, " ")
	return c.json(http.StatusOK, api.LabelsAnswer{Member: name, Labels: m.Labels, Notes: f.Notes})
}

// forecastSet is the forecast of a change of a site's settings: where it moves.
func (s *Server) forecastSet(c *call, name string) error {
	view := s.o.Catalog.View()
	site := *view.Sites[name]
	override, err := sites.MergeOverride(site.Override, json.RawMessage(c.body))
	if err != nil {
		return err
	}
	site.Override = override
	settings, err := site.Effective()
	if err != nil {
		return err
	}
	if errs := settings.Validate(); len(errs) > 0 {
		return errs[0]
	}
	if err := view.Homeless(name, settings); err != nil {
		return err
	}
	after := *view
	after.Sites = map[string]*catalog.Site{name: &site}
	before := *view
	before.Sites = map[string]*catalog.Site{name: view.Sites[name]}
	pools := s.everywhere(c)
	f := s.forecastMove("set", name, pools, placementChange{&before, &after})
	if now, err := view.Sites[name].Effective(); err == nil && site.Release != "" && !now.SameShape(settings) {
		f.Notes = append(f.Notes, "is a deploy of the files that run, in new processes beside the old ones: "+s.forecastSite("deploy", name, "", false, pools).Message)
	}
	return c.json(http.StatusOK, f)
}

// placementChange is the cluster before and after something that moves sites.
type placementChange struct{ before, after *catalog.View }

// placementOf is the change of one member's record.
func (s *Server) placementOf(view *catalog.View, m *catalog.Member) placementChange {
	after := *view
	after.Members = maps.Clone(view.Members)
	after.Members[m.Name] = m
	return placementChange{view, &after}
}

// servers returns the names of the servers that a site of a view belongs on.
func servers(v *catalog.View, site string) []string {
	settings, err := v.Sites[site].Effective()
	if err != nil {
		return nil
	}
	var names []string
	for _, m := range v.Servers(settings) {
		names = append(names, m.Name)
	}
	return names
}

// forecastMove says which sites begin and end on which servers, and what the sessions
// there do: they stay until they end, or the site's pin time is over.
func (s *Server) forecastMove(action, object string, pools proxies.Totals, p placementChange) api.Forecast {
	var notes []string
	leaves := map[string]bool{} // SITE MEMBER
	for _, site := range slices.Sorted(maps.Keys(p.before.Sites)) {
		was, is := servers(p.before, site), servers(p.after, site)
		for _, m := range is {
			if !slices.Contains(was, m) {
				notes = append(notes, fmt.Sprintf("%s starts on %s", site, m))
			}
		}
		for _, m := range was {
			if !slices.Contains(is, m) {
				leaves[site+" "+m] = true
				notes = append(notes, fmt.Sprintf("%s leaves %s, once another server of the site takes new visitors%s", site, m, dataNote(p.after, site)))
			}
		}
	}
	f := s.forecast(action, object, false, pools, func(pool *figures.Pool, u *figures.Upstream) bool {
		return leaves[pool.Name+" "+u.Member]
	})
	if len(notes) == 0 {
		f.Message = "moves no site"
	} else if len(leaves) == 0 {
		f.Message = "cuts nothing: no site leaves a server"
	}
	f.Notes = append(append(notes, newlyHomeless(p)...), f.Notes...)
	return f
}

// placementNotes says on which servers a deploy of a site installs it, where not on all.
func (s *Server) placementNotes(site string) []string {
	v := s.o.Catalog.View()
	if v.Sites[site] == nil {
		return nil
	}
	settings, err := v.Sites[site].Effective()
	if err != nil || len(settings.Servers) == 0 {
		return nil
	}
	if err := v.Homeless(site, settings); err != nil {
		return []string{err.Error()}
	}
	return []string{fmt.Sprintf("goes to the servers of %s alone, unless the archive says otherwise: %s", strings.Join(settings.Servers, ", "), strings.Join(servers(v, site), ", "))}
}

// dataNote says what does not move with a site.
func dataNote(v *catalog.View, site string) string {
	settings, err := v.Sites[site].Effective()
	if err != nil || len(settings.Data) == 0 {
		return ""
	}
	return "; its data folders (" + strings.Join(settings.Data, ", ") + ") stay there and are copied nowhere"
}

// newlyHomeless tells of the sites that would have no server any more.
func newlyHomeless(p placementChange) []string {
	was := p.before.HomelessSites()
	return slices.DeleteFunc(p.after.HomelessSites(), func(text string) bool { return slices.Contains(was, text) })
}

// withoutMember is the cluster without one of its members.
func (s *Server) withoutMember(view *catalog.View, name string) placementChange {
	m := *view.Members[name]
	m.Admission = catalog.Revoked
	return s.placementOf(view, &m)
}
