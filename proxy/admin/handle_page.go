package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"portico/membership/catalog"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
	"portico/proxy/admin/proxies"
)

func (s *Server) asset(c *call) error {
	name := c.r.PathValue("file")
	b, ok := s.pages.assets[name]
	if !ok {
		return api.NotFound("", "there is no file %q", name)
	}
	kind := "text/css; charset=utf-8"
	if strings.HasSuffix(name, ".js") {
		kind = "text/javascript; charset=utf-8"
	}
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Cache-Control", "no-cache")
	_, _ = c.w.Write(b) // likewise
	return nil
}

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
				return api.NotFound("use csv, json, up, no-maint or norefresh", "the page has no option %q", o)
			}
		}
	}
	switch {
	case c.option("csv"):
		return s.statsCSV(c)
	case c.option("json"):
		return s.statsJSON(c)
	}
	name := "stats"
	if c.r.URL.Query().Get("fragment") == "1" {
		name = "live"
	}
	return s.show(c, http.StatusOK, name, s.statsView(c))
}

// errorPage tells a browser what the API would tell a program.
func (s *Server) errorPage(c *call, e *api.Error) {
	err := s.show(c, e.Status, "error", struct {
		Title, Heading, Error, Hint string
		Refresh                     bool
	}{Title: "portico", Heading: http.StatusText(e.Status), Error: e.Message, Hint: e.Hint})
	if err != nil {
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
