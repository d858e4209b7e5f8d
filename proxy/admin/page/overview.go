package page

import (
	"net/http"
	"net/url"
	"strings"

	"portico/balancer/figures"
	"portico/deployhook"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// Overview is the page of all sites.
type Overview struct {
	Frame
	Version string
	View    *catalog.View
	Traffic figures.Proxy // with the sessions of all proxies
	Only    Only

	Drains      []deployhook.Drain
	EndedDrains []deployhook.EndedDrain

	// What concerns more than sites, and is empty for those who see some sites only.
	Members      []api.MemberInfo
	TurnedAway   []membership.Turned
	Certificates []api.Certificate
}

// Only says which sites and instances are shown.
type Only struct {
	Scope       string // part of a site's name; empty: all
	Up, NoMaint bool
}

func (o Only) site(name string) bool { return strings.Contains(name, o.Scope) }

// Overview shows the page of all sites; fragment leaves out what does not change.
func (p *Page) Overview(w http.ResponseWriter, o *Overview, fragment bool) error {
	name := "stats"
	if fragment {
		name = "live"
	}
	return p.show(w, http.StatusOK, name, o.view())
}

// overviewView is what its templates read.
type overviewView struct {
	*Overview
	Title, Cluster, Uptime string
	Revision               int64
	Scope                  string
	CanAdmin               bool
	New                    []Verb // a site that is not there yet
	Views                  []viewLink
	Head                   headView
	Pending                []api.MemberInfo
	Pools                  []poolView
	Frontends              []figures.Frontend
	Members                []memberView
	Deploys                []deployView
	Certificates           []certView
	Drains                 []drainView
	TurnedAway             []membership.Turned
}

// Back is where the page's questions return to.
func (*overviewView) Back() string { return "/stats" }

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

func (o *Overview) view() *overviewView {
	v := &overviewView{
		Overview: o, Title: "portico · " + o.Proxy, Cluster: o.View.ClusterID, Revision: o.View.Revision,
		Uptime: Age(o.Now.Sub(o.Traffic.Started)), Scope: o.Only.Scope, Views: viewLinks(o.Only), Head: headOf(o.View, &o.Traffic),
		CanAdmin: len(offered(o.Who, Target{Member: "new"}, api.VerbAccept)) > 0, New: offered(o.Who, Target{}, VerbDeploy),
		Frontends: o.Traffic.Frontends, TurnedAway: o.TurnedAway[:min(len(o.TurnedAway), 10)],
	}
	for i := range o.Traffic.Pools {
		if p := &o.Traffic.Pools[i]; o.Only.site(p.Name) {
			if pool, shown := poolOf(o.Only, o.View, p); shown {
				v.Pools = append(v.Pools, pool)
			}
		}
	}
	for _, d := range o.Drains {
		v.Drains = append(v.Drains, drainOf(&o.Frame, d))
	}
	for _, m := range o.Members {
		if m.Admission == catalog.Pending {
			v.Pending = append(v.Pending, m)
			continue
		}
		v.Members = append(v.Members, memberOf(&o.Frame, m))
	}
	for _, cert := range o.Certificates {
		if cert.State != "none" {
			v.Certificates = append(v.Certificates, certOf(cert, o.Now))
		}
	}
	v.Deploys = deploysOf(&o.Frame, o.View, func(site string) bool { return o.Who.Sees(site) && o.Only.site(site) })
	return v
}

func viewLinks(only Only) []viewLink {
	query := ""
	if only.Scope != "" {
		query = "?scope=" + url.QueryEscape(only.Scope)
	}
	return []viewLink{
		{"All", "/stats" + query, !only.Up && !only.NoMaint},
		{"Up only", "/stats;up" + query, only.Up},
		{"No maintenance", "/stats;no-maint" + query, only.NoMaint},
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
