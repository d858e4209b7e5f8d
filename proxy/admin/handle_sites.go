package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"portico/balancer/figures"
	"portico/conf/sites"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/admin/forecast"
	"portico/proxy/admin/proxies"
)

func (s *Server) listSites(c *call) error {
	view := s.o.Catalog.View()
	pools := s.everywhere(c).Pools
	out := []api.SiteInfo{}
	for _, site := range view.Sites {
		if c.who.Sees(site.Name) {
			out = append(out, siteInfo(view, site, pools, false))
		}
	}
	slices.SortFunc(out, func(a, b api.SiteInfo) int { return cmp.Compare(a.Name, b.Name) })
	return c.json(http.StatusOK, out)
}

func (s *Server) site(c *call) (*catalog.Site, error) {
	name := c.r.PathValue("site")
	if site := s.o.Catalog.View().Sites[name]; site != nil {
		return site, nil
	}
	return nil, s.all.NoSite(name)
}

// maySet reports whether the caller may change a site's settings: then it may read all of
// them.
func (s *Server) maySet(who *access.Identity, site string) bool {
	return access.May(who, "POST /v1/sites/{site}", site) == nil
}

func (s *Server) getSite(c *call) error {
	return s.showSite(c, s.maySet(c.who, c.r.PathValue("site")), "")
}

// showSite answers with a site; the values of its environment are hidden unless env is set.
// begun is the deploy that a change has begun.
func (s *Server) showSite(c *call, env bool, begun string) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	info := siteInfo(s.o.Catalog.View(), site, s.siteEverywhere(c, site.Name).Pools, env)
	info.Begun = begun
	if s.o.CertificatesOf != nil {
		info.Certificates = s.o.CertificatesOf(info.Settings.Hosts)
	}
	if s.o.URLs != nil && site.Release != "" {
		here := c.r.Host
		if host, _, err := net.SplitHostPort(here); err == nil {
			here = host
		}
		info.URLs = s.o.URLs(info.Settings, strings.Trim(here, "[]"))
	}
	return c.json(http.StatusOK, info)
}

func siteInfo(view *catalog.View, site *catalog.Site, pools []figures.Pool, env bool) api.SiteInfo {
	settings, err := site.Effective()
	if err != nil {
		settings = site.Manifest.WithDefaults(site.Name)
	}
	info := api.SiteInfo{
		Name: site.Name, Release: site.Release, Candidate: site.Candidate, Deploy: site.Deploy,
		Settings: settings, Instances: []api.InstanceInfo{}, Created: site.Created, Updated: site.Updated,
	}
	if len(site.Override) > 0 {
		info.Override = site.Override
	}
	if !env {
		info.Settings = info.Settings.HideEnv()
		if len(site.Override) > 0 {
			info.Override = sites.HideOverrideEnv(site.Override)
		}
	}
	seen := map[string]*figures.Upstream{}
	for i := range pools {
		if pools[i].Name == site.Name {
			for j := range pools[i].Upstreams {
				u := &pools[i].Upstreams[j]
				seen[u.ID] = u
				info.Sessions += int64(u.Sessions)
				info.Recounting = info.Recounting || u.Recounting
			}
		}
	}
	for _, in := range view.InstancesOf(site.Name) {
		line := api.InstanceInfo{Instance: *in}
		if u := seen[in.ID]; u != nil {
			line.Upstream, line.Sessions, line.Recounting = u.Status, int64(u.Sessions), u.Recounting
		}
		info.Instances = append(info.Instances, line)
	}
	slices.SortFunc(info.Instances, func(a, b api.InstanceInfo) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.ID, b.ID))
	})
	return info
}

// setSite merges a patch into what operators have set, and refuses the whole of
// it for any mistake.
func (s *Server) setSite(c *call) error {
	if len(c.body) == 0 {
		return refusal.BadRequest(`send the settings to change, such as {"policy":"round-robin"}`, "there is no body")
	}
	if e := refuseHidden(c.body); e != nil {
		return e
	}
	name := c.r.PathValue("site")
	if c.dry {
		if _, err := s.site(c); err != nil {
			return err
		}
		f, err := forecast.Set(s.o.Catalog.View(), name, c.body, s.siteEverywhere(c, name))
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, f)
	}
	if s.o.Deploys == nil {
		return refusal.NotOffered("deploys")
	}
	deploy, _, err := s.o.Deploys.Set(c.r.Context(), name, c.body, c.who.Account)
	if errors.Is(err, catalog.ErrNotFound) {
		return s.all.NoSite(name)
	}
	if err != nil {
		return err
	}
	c.detail = api.Bounded(string(sites.HideOverrideEnv(c.body)), 400)
	return s.showSite(c, false, deploy.ID)
}

// refuseHidden refuses to store what stands for a value in the place of the value: somebody
// sends back what was shown.
func refuseHidden(patch []byte) *refusal.Error {
	var in struct{ Env map[string]any }
	_ = json.Unmarshal(patch, &in) // what it cannot read is refused later, with more words
	for name, v := range in.Env {
		if v == sites.Hidden {
			return refusal.BadRequest("send its value, or leave it out", "env.%s is %q, which only stands for its value", name, sites.Hidden)
		}
	}
	return nil
}

func (s *Server) removeSite(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	if c.dry {
		return c.json(http.StatusOK, s.forecastSite("remove", site.Name, "", true, s.siteEverywhere(c, site.Name)))
	}
	if err := s.deeds.Remove(c.r.Context(), c.who.Account, site.Name); err != nil {
		return err
	}
	return c.json(http.StatusOK, struct{}{})
}

func (s *Server) forecastDeploy(c *call) error {
	noPin, err := c.flag("no_pin")
	if err != nil {
		return err
	}
	site := c.r.PathValue("site")
	return c.json(http.StatusOK, s.forecastSite("deploy", site, "", noPin, s.siteEverywhere(c, site)))
}

func (s *Server) releases(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, releaseInfos(s.o.Catalog.View(), site))
}

// releaseInfos are a site's releases, the newest first.
func releaseInfos(view *catalog.View, site *catalog.Site) []api.ReleaseInfo {
	out := []api.ReleaseInfo{}
	for _, r := range view.Releases[site.Name] {
		out = append(out, releaseInfo(r, site))
	}
	slices.SortFunc(out, func(a, b api.ReleaseInfo) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Digest, b.Digest))
	})
	return out
}

// releaseInfo is a release as the API shows it.
func releaseInfo(r *catalog.Release, site *catalog.Site) api.ReleaseInfo {
	return api.ReleaseInfo{
		Digest: r.Digest, Archive: r.Archive, Size: r.Size, Files: r.Files, Created: r.Created, By: r.By, Current: r.Digest == site.Release,
		Retiring: slices.ContainsFunc(site.Retiring, func(x catalog.Retiring) bool { return x.Release == r.Digest }),
	}
}

// forecastSite is the forecast of an action on a site, with what its application servers lack.
func (s *Server) forecastSite(action, site, release string, cut bool, pools proxies.Totals) api.Forecast {
	f := forecast.Site(s.o.Catalog.View(), action, site, cut, pools)
	if !cut && s.o.Deploys != nil { // with a pin both releases need memory for a while
		f.Notes = append(f.Notes, s.o.Deploys.TightMemory(site, release)...)
	}
	return f
}
