package admin

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"strings"

	"portico/balancer"
	"portico/membership/catalog"
)

func (s *Server) listSites(c *call) error {
	view := s.o.Catalog.View()
	pools := s.everywhere(c).list
	out := []SiteInfo{}
	for _, site := range view.Sites {
		if c.who.sees(site.Name) {
			out = append(out, siteInfo(view, site, pools))
		}
	}
	slices.SortFunc(out, func(a, b SiteInfo) int { return cmp.Compare(a.Name, b.Name) })
	return c.json(http.StatusOK, out)
}

func (s *Server) site(c *call) (*catalog.Site, error) {
	name := c.r.PathValue("site")
	if site := s.o.Catalog.View().Sites[name]; site != nil {
		return site, nil
	}
	return nil, notFound("portico sites lists them", "there is no site %q", name)
}

func (s *Server) getSite(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	info := siteInfo(s.o.Catalog.View(), site, s.everywhere(c).list)
	if s.o.URLs != nil && site.Release != "" {
		here := c.r.Host
		if host, _, err := net.SplitHostPort(here); err == nil {
			here = host
		}
		info.URLs = s.o.URLs(info.Settings, strings.Trim(here, "[]"))
	}
	return c.json(http.StatusOK, info)
}

func siteInfo(view *catalog.View, site *catalog.Site, pools []balancer.PoolSnapshot) SiteInfo {
	settings, err := site.Effective()
	if err != nil {
		settings = site.Manifest.WithDefaults(site.Name)
	}
	info := SiteInfo{
		Name: site.Name, Release: site.Release, Candidate: site.Candidate, Deploy: site.Deploy,
		Settings: settings, Instances: []InstanceInfo{}, Created: site.Created, Updated: site.Updated,
	}
	if len(site.Override) > 0 {
		info.Override = site.Override
	}
	seen := map[string]*balancer.UpstreamSnapshot{}
	for i := range pools {
		if pools[i].Name == site.Name {
			for j := range pools[i].Upstreams {
				u := &pools[i].Upstreams[j]
				seen[u.ID] = u
				info.Sessions += int64(u.Sessions)
			}
		}
	}
	for _, in := range view.Instances {
		if in.Site != site.Name {
			continue
		}
		line := InstanceInfo{Instance: *in}
		if u := seen[in.ID]; u != nil {
			line.Upstream, line.Sessions = u.Status, int64(u.Sessions)
		}
		info.Instances = append(info.Instances, line)
	}
	slices.SortFunc(info.Instances, func(a, b InstanceInfo) int { return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.ID, b.ID)) })
	return info
}

// setSite merges a patch into what operators have set, and refuses the whole of
// it for any mistake.
func (s *Server) setSite(c *call) error {
	if len(c.body) == 0 {
		return badRequest(`send the settings to change, such as {"policy":"round-robin"}`, "there is no body")
	}
	name := c.r.PathValue("site")
	_, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error {
		_, err := catalog.SetOverride(tx, name, c.body, c.now)
		return err
	})
	if err != nil {
		return err
	}
	c.detail = bounded(string(c.body), 400)
	return s.getSite(c)
}

func (s *Server) removeSite(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	if c.dry {
		return c.json(http.StatusOK, s.forecastSite("remove", site.Name, "", true, s.everywhere(c)))
	}
	if err := s.removeOf(c, site.Name); err != nil {
		return err
	}
	return c.json(http.StatusOK, struct{}{})
}

// removeOf removes a site; API and page both come here.
func (s *Server) removeOf(c *call, site string) error {
	if s.o.Deploys == nil {
		return notOffered("deploys")
	}
	return s.o.Deploys.Remove(c.r.Context(), site, c.who.account)
}

func (s *Server) forecastDeploy(c *call) error {
	noPin, err := c.flag("no_pin")
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, s.forecastSite("deploy", c.r.PathValue("site"), "", noPin, s.everywhere(c)))
}

func (s *Server) releases(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	out := []ReleaseInfo{}
	for _, r := range s.o.Catalog.View().Releases[site.Name] {
		out = append(out, releaseInfo(r, site))
	}
	slices.SortFunc(out, func(a, b ReleaseInfo) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Digest, b.Digest))
	})
	return c.json(http.StatusOK, out)
}
