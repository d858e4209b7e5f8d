package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"portico/internal/refusal"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
	"portico/proxy/admin/page"
	"portico/proxy/admin/proxies"
)

func (s *Server) asset(c *call) error { return s.page.Asset(c.w, c.r.PathValue("file")) }

type suffixKey struct{}

// statsSuffix returns the options behind the page's address. Readers of HAProxy's CSV add them to whatever they are given: Telegraf
// "/;csv", netdata and Datadog "/;csv;norefresh", also to an address that ends in "/".
func statsSuffix(path string) (options string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/stats")
	rest = strings.TrimLeft(rest, "/")
	if !ok || rest == "" {
		return "", ok && path != "/stats"
	}
	return strings.CutPrefix(rest, ";")
}

// withSuffix turns HAProxy's way of writing options, /stats;csv;norefresh, into
// a request for /stats.
func withSuffix(r *http.Request, suffix string) *http.Request {
	r = r.Clone(context.WithValue(r.Context(), suffixKey{}, strings.Split(suffix, ";")))
	r.URL.Path, r.URL.RawPath = "/stats", ""
	return r
}

// option reports whether the page was asked for with one of HAProxy's options.
func (c *call) option(name string) bool {
	list, _ := c.r.Context().Value(suffixKey{}).([]string)
	return slices.Contains(list, name)
}

// statsPage answers /stats in the form that was asked for.
func (s *Server) statsPage(c *call) error {
	if list, ok := c.r.Context().Value(suffixKey{}).([]string); ok {
		for _, o := range list {
			if !slices.Contains([]string{"", "csv", "json", "up", "no-maint", "norefresh"}, o) {
				return refusal.NotFound("use csv, json, up, no-maint or norefresh", "the page has no option %q", o)
			}
		}
	}
	switch {
	case c.option("csv"):
		return s.statsCSV(c)
	case c.option("json"):
		return s.statsJSON(c)
	}
	return s.overviewPage(c)
}

// fragment reports whether only what changes of a page is asked for.
func (c *call) fragment() bool { return c.r.URL.Query().Get("fragment") == "1" }

// frame is what stands around the tables of a page.
func (s *Server) frame(c *call, pools *proxies.Totals) page.Frame {
	return page.Frame{
		Proxy: s.o.Name, Who: c.who, CSRF: s.gate.CSRF(c.who), Flash: s.flash(c), Silent: strings.Join(pools.Note(), ""),
		Old: s.old(c.now), Refresh: !c.option("norefresh"), Now: c.now,
	}
}

func (s *Server) overviewPage(c *call) error {
	snap := s.snapshot(c.who)
	pools := s.all.Totals(c.r.Context(), snap.Pools)
	o := &page.Overview{
		Frame: s.frame(c, &pools), Version: s.o.Version, View: s.o.Catalog.View(), Traffic: snap, Drains: s.drains(c), EndedDrains: s.lastEnded(c, ""),
		Only: page.Only{Scope: strings.ToLower(api.Bounded(c.r.URL.Query().Get("scope"), 60)), Up: c.option("up"), NoMaint: c.option("no-maint")},
	}
	if len(c.who.Sites) == 0 {
		o.Members = s.memberInfos(o.View, snap.Pools)
		if s.o.TurnedAway != nil {
			o.TurnedAway = s.o.TurnedAway()
		}
		if s.o.Certificates != nil {
			o.Certificates = s.o.Certificates()
		}
	}
	return s.page.Overview(c.w, o, c.fragment())
}

// errorPage tells a browser what the API would tell a program.
func (s *Server) errorPage(c *call, e *refusal.Error) {
	if s.page.Error(c.w, e) != nil {
		api.WriteError(c.w, e)
	}
}

// sitePage answers GET /stats/sites/{site}.
func (s *Server) sitePage(c *call) error {
	name := c.r.PathValue("site")
	view := s.o.Catalog.View()
	site := view.Sites[name]
	if site == nil {
		return s.all.NoSite(name)
	}
	q := c.r.URL.Query()
	pools := s.siteEverywhere(c, name)
	v := &page.Site{
		Frame: s.frame(c, &pools), View: view, Site: site, Recent: pools.Recent,
		Releases: releaseInfos(view, site), EndedDrains: s.lastEnded(c, name),
		Find: api.Bounded(strings.TrimSpace(q.Get("find")), 300), Member: api.Bounded(q.Get("on"), 100), Idle: api.Bounded(q.Get("idle"), 20),
	}
	if len(pools.Pools) > 0 {
		v.Pool = &pools.Pools[0]
	}
	for _, d := range s.drains(c) {
		if d.Site == name {
			v.Drains = append(v.Drains, d)
		}
	}
	v.Sessions = s.pageSessions(c, v)
	if s.mayExchanges(c.who) {
		v.Failures, _ = s.exchanges(c.who, api.ExchangeQuery{Site: name, Failed: true, Limit: 8}) // none where nothing is remembered
	}
	return s.page.Site(c.w, v, c.fragment())
}

// mayExchanges reports whether the caller may see what became of requests.
func (s *Server) mayExchanges(who *access.Identity) bool {
	return access.May(who, "GET /v1/requests", "") == nil && s.o.Exchanges != nil
}

// pageSessions finds what the page was asked for: an id or its beginning, a sticky cookie,
// or the application's token; without one the sessions that were used last.
func (s *Server) pageSessions(c *call, v *page.Site) api.SessionList {
	if s.o.Balancer == nil {
		return api.SessionList{Note: "this process offers no sessions"}
	}
	p := s.o.Balancer.Pool(v.Site.Name)
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
