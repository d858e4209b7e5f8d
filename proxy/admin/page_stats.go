package admin

import (
	"net/url"
	"strings"
	"time"

	"portico/balancer/figures"
	"portico/deployhook"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// statsView is what the page shows.
type statsView struct {
	Title, Proxy, Cluster, Version, Uptime string
	Revision                               int64
	Account                                string
	Role                                   catalog.AccountRole
	CSRF, Scope, Flash                     string
	Silent                                 string // which proxies are not in the sums
	Old                                    string // since when what is shown may be old
	CanAdmin, Refresh                      bool
	New                                    []verbView // a site that is not there yet
	Now                                    time.Time
	Views                                  []viewLink
	Head                                   headView
	Pending                                []api.MemberInfo
	Pools                                  []poolView
	Frontends                              []figures.Frontend
	Members                                []memberView
	Deploys                                []deployView
	Certificates                           []certView
	Drains                                 []drainView
	EndedDrains                            []deployhook.EndedDrain
	TurnedAway                             []membership.Turned
}

// Back is where the page's questions return to.
func (*statsView) Back() string { return "/stats" }

type viewLink struct {
	Text, Href string
	On         bool
}

type headView struct {
	ReqRate         float64
	Sessions, Conns int
	Recounting      bool // of the sessions
	Sites, SitesUp  int
	Instances, Up   int
	In, Out         uint64
}

// statsView gathers the page for c's caller.
func (s *Server) statsView(c *call) *statsView {
	view := s.o.Catalog.View()
	snap := s.snapshot(c.who)
	pools := s.all.Totals(c.r.Context(), snap.Pools)
	silent := strings.Join(pools.Note(), "")
	scope := strings.ToLower(api.Bounded(c.r.URL.Query().Get("scope"), 60))
	v := &statsView{
		Title: "portico · " + s.o.Name, Proxy: s.o.Name, Cluster: view.ClusterID, Version: s.o.Version, Revision: view.Revision,
		Uptime: age(c.now.Sub(snap.Started)), Account: c.who.Account, Role: c.who.Role, CSRF: s.gate.CSRF(c.who), Scope: scope,
		Flash: s.flash(c), Silent: silent, Old: s.old(c.now), CanAdmin: len(s.offered(c.who, pageTarget{Member: "new"}, api.VerbAccept)) > 0, New: s.offered(c.who, pageTarget{}, verbDeploy), Refresh: !c.option("norefresh"), Now: c.now,
		Views: viewLinks(c, scope), Frontends: snap.Frontends,
	}
	v.Head = headOf(view, &snap)
	for i := range snap.Pools {
		if p := &snap.Pools[i]; scope == "" || strings.Contains(p.Name, scope) {
			if pool, shown := poolOf(c, view, p); shown {
				v.Pools = append(v.Pools, pool)
			}
		}
	}
	for _, d := range s.drains(c) {
		v.Drains = append(v.Drains, s.drainOf(c, d))
	}
	v.EndedDrains = s.endedViews(c, "")
	if len(c.who.Sites) == 0 {
		s.clusterView(c, v, view, &snap)
	}
	for _, d := range view.Deploys {
		if len(v.Deploys) < 6 && c.who.Sees(d.Site) && (scope == "" || strings.Contains(d.Site, scope)) {
			v.Deploys = append(v.Deploys, s.deployView(c, d))
		}
	}
	return v
}

// clusterView adds what concerns more than sites.
func (s *Server) clusterView(c *call, v *statsView, view *catalog.View, snap *figures.Proxy) {
	for _, m := range s.memberInfos(view, snap.Pools) {
		if m.Admission == catalog.Pending {
			v.Pending = append(v.Pending, m)
			continue
		}
		v.Members = append(v.Members, s.memberOf(c, m))
	}
	if s.o.TurnedAway != nil {
		list := s.o.TurnedAway()
		v.TurnedAway = list[:min(len(list), 10)]
	}
	if s.o.Certificates != nil {
		for _, cert := range s.o.Certificates() {
			if cert.State == "none" {
				continue
			}
			v.Certificates = append(v.Certificates, certOf(cert, c.now))
		}
	}
}

func viewLinks(c *call, scope string) []viewLink {
	query := ""
	if scope != "" {
		query = "?scope=" + url.QueryEscape(scope)
	}
	return []viewLink{
		{"All", "/stats" + query, !c.option("up") && !c.option("no-maint")},
		{"Up only", "/stats;up" + query, c.option("up")},
		{"No maintenance", "/stats;no-maint" + query, c.option("no-maint")},
		{"CSV", "/stats;csv", false},
		{"JSON", "/stats;json", false},
	}
}

func headOf(view *catalog.View, snap *figures.Proxy) headView {
	var h headView
	for i := range snap.Frontends {
		f := &snap.Frontends[i]
		h.ReqRate += f.ReqRate
		h.Conns += f.Conns
		h.In += f.BytesIn
		h.Out += f.BytesOut
	}
	for i := range snap.Pools {
		p := &snap.Pools[i]
		if uninstalled(view, p.Name) {
			continue
		}
		h.Sites++
		h.Sessions += p.Sessions
		h.Recounting = h.Recounting || p.Recounting
		if p.Status == "UP" {
			h.SitesUp++
		}
		for j := range p.Upstreams {
			u := &p.Upstreams[j]
			if u.Retiring {
				continue
			}
			h.Instances++
			if u.State == figures.Up {
				h.Up++
			}
		}
	}
	return h
}
