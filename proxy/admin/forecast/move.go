package forecast

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"portico/balancer/figures"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/admin/proxies"
)

// Labels is the forecast of other labels of an application server.
func Labels(view *catalog.View, name string, labels []string, pools proxies.Totals) api.Forecast {
	m := *view.Members[name]
	m.Labels = labels
	return move(api.VerbLabels, name, pools, placementOf(view, &m))
}

// Set is the forecast of a change of a site's settings: where it moves.
func Set(view *catalog.View, name string, patch []byte, pools proxies.Totals) (f api.Forecast, err error) {
	site := *view.Sites[name]
	override, err := sites.MergeOverride(site.Override, patch)
	if err != nil {
		return f, err
	}
	site.Override = override
	settings, err := site.Effective()
	if err != nil {
		return f, err
	}
	if errs := settings.Validate(); len(errs) > 0 {
		return f, errs[0]
	}
	if err := view.Homeless(name, settings); err != nil {
		return f, err
	}
	after := *view
	after.Sites = map[string]*catalog.Site{name: &site}
	before := *view
	before.Sites = map[string]*catalog.Site{name: view.Sites[name]}
	f = move("set", name, pools, change{&before, &after})
	if now, err := view.Sites[name].Effective(); err == nil && site.Release != "" && !now.SameShape(settings) {
		f.Notes = append(f.Notes, "is a deploy of the files that run, in new processes beside the old ones: "+Site(view, "deploy", name, false, pools).Message)
	}
	return f, nil
}

// move says which sites begin and end on which servers, and what the sessions
// there do: they stay until they end, or the site's pin time is over.
func move(action, object string, pools proxies.Totals, p change) api.Forecast {
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
	f := sum(action, object, false, pools, func(pool *figures.Pool, u *figures.Upstream) bool {
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

// change is the cluster before and after something that moves sites.
type change struct{ before, after *catalog.View }

// placementOf is the change of one member's record.
func placementOf(view *catalog.View, m *catalog.Member) change {
	after := *view
	after.Members = maps.Clone(view.Members)
	after.Members[m.Name] = m
	return change{view, &after}
}

// withoutMember is the cluster without one of its members.
func withoutMember(view *catalog.View, name string) change {
	m := *view.Members[name]
	m.Admission = catalog.Revoked
	return placementOf(view, &m)
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

// placementNotes says on which servers a deploy of a site installs it, where not on all.
func placementNotes(v *catalog.View, site string) []string {
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
func newlyHomeless(p change) []string {
	was := p.before.HomelessSites()
	return slices.DeleteFunc(p.after.HomelessSites(), func(text string) bool { return slices.Contains(was, text) })
}
