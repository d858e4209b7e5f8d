package admin

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"portico/deployhook"
	"portico/membership/catalog"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
	"portico/proxy/admin/proxies"
	"portico/proxy/recent"
)

// siteView is a site's own page: its instances, releases, sessions and what went
// wrong lately.
type siteView struct {
	Title, Proxy, CSRF, Flash string
	Silent                    string // which proxies are not in the sums
	Old                       string // since when what is shown may be old
	Account                   string
	Role                      catalog.AccountRole
	Refresh                   bool
	Now                       time.Time

	Name, Hosts, Path string // Path of this page
	Release           string
	Verbs             []verbView // for the site as a whole
	Pool              poolView
	Recent            int64 // sessions used in the last 5 minutes
	Instances         []instanceView
	Releases          []releaseView
	Drains            []drainView
	EndedDrains       []deployhook.EndedDrain
	Deploys           []deployView
	Find, Member      string // what is searched for
	Idle              string
	Sessions          api.SessionList
	SessionVerbs      []verbView
	Failures          []recent.Exchange
}

type instanceView struct {
	rowView
	Recent int64
	Note   string // what its agent says of it, while it is up
	Verbs  []verbView
}

type releaseView struct {
	api.ReleaseInfo
	State    string
	Sessions int

	Recounting bool // of the sessions
	Verbs      []verbView
}

// Back is where the page's questions return to.
func (v *siteView) Back() string { return v.Path }

// sitePage answers GET /stats/sites/{site}.
func (s *Server) sitePage(c *call) error {
	name := c.r.PathValue("site")
	view := s.o.Catalog.View()
	site := view.Sites[name]
	if site == nil {
		return s.all.NoSite(name)
	}
	q := c.r.URL.Query()
	v := &siteView{
		Title: name + " · portico", Proxy: s.o.Name, CSRF: s.gate.CSRF(c.who), Flash: s.flash(c), Account: c.who.Account, Role: c.who.Role, Refresh: true, Now: c.now,
		Name: name, Path: sitePath(name), Release: site.Release, Verbs: s.offered(c.who, pageTarget{Site: name}, verbDeploy, verbRemove),
		Find: api.Bounded(strings.TrimSpace(q.Get("find")), 300), Member: api.Bounded(q.Get("on"), 100), Idle: api.Bounded(q.Get("idle"), 20),
		SessionVerbs: s.offered(c.who, pageTarget{Site: name, Session: "0"}, verbMove, verbEnd),
	}
	snap := s.snapshot(c.who)
	pools := s.all.Totals(c.r.Context(), snap.Pools)
	v.Silent, v.Old = strings.Join(pools.Note(), ""), s.old(c.now)
	for i := range snap.Pools {
		if p := &snap.Pools[i]; p.Name == name {
			v.Pool, _ = poolOf(c, view, p)
			v.Hosts = v.Pool.Hosts
		}
	}
	for _, r := range v.Pool.Rows {
		in := instanceView{rowView: r, Recent: pools.Recent(r.U.ID)}
		v.Recent += in.Recent
		if rec := view.Instances[r.U.ID]; rec != nil {
			if rec.State == catalog.InstanceHealthy {
				in.Note = rec.Detail
			}
			in.Verbs = s.offered(c.who, pageTarget{Site: name, Instance: r.U.ID}, instanceVerbs(rec.Admin, r.U.Retiring)...)
		}
		v.Instances = append(v.Instances, in)
	}
	v.Releases = s.releaseViews(c, site, v.Pool.Rows)
	for _, d := range s.drains(c) {
		if d.Site == name {
			v.Drains = append(v.Drains, s.drainOf(c, d))
		}
	}
	v.EndedDrains = s.endedViews(c, name)
	for _, d := range view.Deploys {
		if d.Site == name && len(v.Deploys) < 6 {
			v.Deploys = append(v.Deploys, s.deployView(c, d))
		}
	}
	v.Sessions = s.pageSessions(c, name, v)
	if e := s.mayExchanges(c.who); e {
		v.Failures, _ = s.exchanges(c.who, api.ExchangeQuery{Site: name, Failed: true, Limit: 8}) // none where nothing is remembered
	}
	part := "site"
	if q.Get("fragment") == "1" {
		part = "sitelive"
	}
	return s.show(c, http.StatusOK, part, v)
}

// mayExchanges reports whether the caller may see what became of requests.
func (s *Server) mayExchanges(who *access.Identity) bool {
	return access.May(who, "GET /v1/requests", "") == nil && s.o.Exchanges != nil
}

// releaseViews lists a site's releases, newest first, with what can be done to each.
func (s *Server) releaseViews(c *call, site *catalog.Site, rows []rowView) []releaseView {
	sessions, recounting := map[string]int{}, map[string]bool{}
	for _, r := range rows {
		sessions[r.U.Release] += r.U.Sessions
		recounting[r.U.Release] = recounting[r.U.Release] || r.U.Recounting
	}
	retiring := map[string]bool{}
	for _, r := range site.Retiring {
		retiring[r.Release] = true
	}
	var out []releaseView
	for _, r := range s.o.Catalog.View().Releases[site.Name] {
		v := releaseView{ReleaseInfo: releaseInfo(r, site), State: "kept", Sessions: sessions[r.Digest], Recounting: recounting[r.Digest]}
		t := pageTarget{Site: site.Name, Release: r.Digest}
		switch {
		case r.Digest == site.Release:
			v.State = "current"
		case retiring[r.Digest]:
			v.State, v.Verbs = "retiring", s.offered(c.who, t, verbRollback, api.VerbDrain, verbCut)
		case r.Digest == site.Candidate:
			v.State = "being deployed"
		default:
			v.Verbs = s.offered(c.who, t, verbRollback)
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b releaseView) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Digest, b.Digest))
	})
	return out
}

// pageSessions finds what the page was asked for: an id or its beginning, a sticky cookie,
// or the application's token; without one the sessions that were used last.
func (s *Server) pageSessions(c *call, name string, v *siteView) api.SessionList {
	if s.o.Balancer == nil {
		return api.SessionList{Note: "this process offers no sessions"}
	}
	p := s.o.Balancer.Pool(name)
	if p == nil {
		return api.SessionList{Note: "no instance of this site has been here yet"}
	}
	idle, err := api.Duration(v.Idle, 0, deeds.MaxDrain)
	if err != nil {
		return api.SessionList{Note: err.Error()}
	}
	f := proxies.Filter{Member: v.Member, Idle: idle, Limit: 50}
	if v.Find == "" {
		return s.all.List(c.r.Context(), p, f, c.now)
	}
	if strings.ContainsAny(v.Find, "|=") {
		return s.all.Seek(c.r.Context(), p, v.Find, "", c.now)
	}
	if id := strings.ToLower(v.Find); len(id) <= 16 && strings.Trim(id, "0123456789abcdef") == "" {
		f.ID = id
		if got := s.all.List(c.r.Context(), p, f, c.now); got.Total > 0 {
			return got
		}
	}
	return s.all.Seek(c.r.Context(), p, "", v.Find, c.now)
}

// stateOf is what there is to say of a session in the list.
func stateOf(in api.SessionInfo) string {
	switch {
	case in.Ended:
		return "ended"
	case in.Moving:
		return "moves with its next request"
	case !in.Returned:
		return "seen once"
	}
	return ""
}
