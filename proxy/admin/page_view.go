package admin

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"portico/balancer/figures"
	"portico/conf/sites"
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

// drainView is one line of what is being emptied.
type drainView struct {
	Verbs                     []verbView
	Query                     template.URL // what the buttons are about, encoded
	D                         deployhook.Drain
	Object, Ends, Deadline    string
	Since, Idlest, MovesAfter string
	Waits                     []string // for whom, beside its sessions
	Failed                    string   // what has failed meanwhile, and how many sessions that cost
}

// drainOf is a drain with the buttons that end or change it.
func (s *Server) drainOf(c *call, d deployhook.Drain) drainView {
	v := drainViewOf(d, c.now)
	t, names := pageTarget{Member: d.Member}, []string{api.VerbReady}
	switch d.Kind {
	case deployhook.DrainInstance:
		t = pageTarget{Site: d.Site, Instance: d.Instance}
	case deployhook.DrainRelease:
		t, names = pageTarget{Site: d.Site, Release: d.Release}, []string{api.VerbDrain, verbCut}
	}
	v.Verbs, v.Query = s.offered(c.who, t, names...), template.URL(t.fields().Encode()) // url.Values encodes everything
	return v
}

func drainViewOf(d deployhook.Drain, now time.Time) drainView {
	v := drainView{D: d, Object: d.Object, Ends: "–", Deadline: "–", Since: age(now.Sub(d.Since)), Idlest: "–"}
	if d.Kind == deployhook.DrainInstance {
		v.Object = d.Site + "/" + api.Bounded(d.Instance, 8) + " on " + d.Member
	}
	if d.Sessions > 0 {
		v.Idlest = age(d.Idlest.Std())
	}
	if d.Ends.After(now) {
		v.Ends = "in " + age(d.Ends.Sub(now))
	}
	if !d.Deadline.IsZero() {
		v.Deadline = "in " + age(d.Remaining(now))
	}
	if d.Lost > 0 {
		v.Failed = deployhook.FailureText(d.Cause) + ": " + api.Count(int64(d.Lost), "session") + " lost"
	}
	for _, u := range d.Unheard {
		v.Waits = append(v.Waits, u.Text(now))
	}
	if d.Move > 0 {
		v.MovesAfter = age(d.Move.Std())
	}
	return v
}

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

type poolView struct {
	figures.Pool
	Class, StatusText, Hosts string
	Lost                     string
	NewRate                  float64
	P50, P99                 string
	Rows                     []rowView
}

type rowView struct {
	U                                *figures.Upstream
	Class, StatusText, Reason, Check string
	P50, P99, Title                  string
	OK                               uint64
}

type memberView struct {
	M                  api.MemberInfo
	Class, State, Role string
	Verbs              []verbView
}

type deployView struct {
	D     *catalog.Deploy
	Verbs []verbView
	Took  string
	Steps []stepView
}

type stepView struct {
	Member, Class, Detail string
	Step                  catalog.Step
	Done, Total           int64
}

type certView struct {
	C           api.Certificate
	Class, Ends string
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

// poolOf makes a site's table; shown is false where the view hides all of it.
func poolOf(c *call, view *catalog.View, p *figures.Pool) (out poolView, shown bool) {
	out = poolView{Pool: *p, Class: "up", StatusText: p.Status, NewRate: p.NewSessionRate, Lost: causes(p.Lost)}
	if p.Status != "UP" {
		out.Class = "down"
	}
	if p.LastChange > 0 {
		out.StatusText += " " + age(p.LastChange.Std())
	}
	if uninstalled(view, p.Name) {
		out.Class, out.StatusText = "plain", notYet(view.Sites[p.Name])
	}
	if site := view.Sites[p.Name]; site != nil {
		if set, err := site.Effective(); err == nil {
			out.Hosts = hostsText(set)
		}
	}
	out.P50, out.P99 = formatLatency(p.Sum.P50.Std()), formatLatency(p.Sum.P99.Std())
	for i := range p.Upstreams {
		u := &p.Upstreams[i]
		if c.option("up") && u.State != figures.Up || c.option("no-maint") && u.Admin == figures.Maint {
			continue
		}
		out.Rows = append(out.Rows, rowOf(u))
	}
	slices.SortStableFunc(out.Rows, func(a, b rowView) int {
		return cmp.Or(lastly(a.U.Retiring)-lastly(b.U.Retiring), lastly(a.U.Backup)-lastly(b.U.Backup), cmp.Compare(a.U.Name, b.U.Name))
	})
	return out, len(out.Rows) > 0 || len(p.Upstreams) == 0
}

// uninstalled reports whether a site is known, but no release of it has ever been in rotation: it cannot be down.
func uninstalled(view *catalog.View, name string) bool {
	site := view.Sites[name]
	return site != nil && site.Release == ""
}

// notYet says in what state such a site is.
func notYet(site *catalog.Site) string {
	if site.Candidate != "" {
		return "being installed"
	}
	return "not installed: deploy or remove it"
}

func lastly(last bool) int {
	if last {
		return 1
	}
	return 0
}

func hostsText(s sites.Settings) string {
	hosts := strings.Join(s.Hosts, " ")
	if hosts == "" {
		hosts = "any other host"
	}
	if s.Path != "/" {
		hosts += " " + s.Path
	}
	return hosts
}

func causes(lost figures.Causes) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(lost)) {
		if n := lost[k]; n > 0 && k != "" {
			parts = append(parts, fmt.Sprintf("%s %s", formatNumber(n), k))
		}
	}
	return strings.Join(parts, ", ")
}

func rowOf(u *figures.Upstream) rowView {
	r := rowView{
		U: u, Class: colour(u), StatusText: u.Status, OK: u.Status2xx + u.Status3xx,
		P50: formatLatency(u.P50.Std()), P99: formatLatency(u.P99.Std()),
		Title: fmt.Sprintf("%s on %s at %s\ncookie %s", u.ID, cmp.Or(u.Member, "no member"), u.Addr, u.Token),
	}
	if u.LastChange > 0 {
		r.StatusText += " " + age(u.LastChange.Std())
	}
	if r.Class != "up" {
		r.Reason = cmp.Or(u.AdminReason, u.Reason)
	}
	if u.CheckCode != "" && u.CheckCode != "INI" {
		r.Check = u.CheckCode
		if u.CheckStatus > 0 {
			r.Check += fmt.Sprintf("/%d", u.CheckStatus)
		}
		r.Check += " " + formatLatency(u.CheckTime.Std())
	}
	return r
}

// colour is the class of an upstream's row, by HAProxy's palette.
func colour(u *figures.Upstream) string {
	moving := strings.Contains(u.Status, "/")
	switch {
	case u.Admin == figures.Maint:
		return "maint"
	case strings.HasPrefix(u.Status, "no check"):
		return "nocheck"
	case u.State == figures.Down || u.State == figures.Unverified:
		if moving {
			return "going-up"
		}
		return "down"
	case u.Admin == figures.Drain || u.Retiring:
		return "drain"
	case u.State == figures.Suspect:
		return "nolb"
	case moving:
		return "going-down"
	}
	return "up"
}

func (s *Server) memberOf(c *call, m api.MemberInfo) memberView {
	v := memberView{M: m, Class: "up", State: string(m.Admission), Role: string(m.Role)}
	if m.Role == catalog.RoleServer {
		v.Role = "application server"
	}
	var offered []string
	switch m.Admission {
	case catalog.Accepted:
		offered = append(offered, api.VerbRevoke)
		v.State = string(m.Admin)
		if m.Role != catalog.RoleServer {
			v.State = "accepted"
			break
		}
		offered = map[catalog.AdminState][]string{
			catalog.AdminReady: {api.VerbDrain, api.VerbMaint, api.VerbRevoke},
			catalog.AdminDrain: {api.VerbReady, api.VerbMaint, api.VerbRevoke},
			catalog.AdminMaint: {api.VerbReady, api.VerbDrain, api.VerbRevoke},
		}[m.Admin]
	case catalog.Refused, catalog.Revoked:
		v.Class = "nocheck"
	}
	switch {
	case m.Admission != catalog.Accepted:
	case m.Admin == catalog.AdminDrain:
		v.Class = "drain"
	case m.Admin == catalog.AdminMaint:
		v.Class = "maint"
	case m.Gossip == "failed":
		v.Class = "going-down"
	}
	if m.Name != s.o.Name {
		v.Verbs = s.offered(c.who, pageTarget{Member: m.Name}, offered...)
	}
	return v
}

func (s *Server) deployView(c *call, d *catalog.Deploy) deployView {
	v := deployOf(d)
	if d.State == catalog.DeployRunning {
		v.Verbs = s.offered(c.who, pageTarget{Site: d.Site}, verbCancel)
	}
	return v
}

func deployOf(d *catalog.Deploy) deployView {
	v := deployView{D: d}
	if !d.Ended.IsZero() {
		v.Took = formatAge(d.Ended.Sub(d.Created))
		if t := d.Ended.Sub(d.Created); t < 10*time.Second {
			v.Took = fmt.Sprintf("%.1f s", t.Seconds())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Members)) {
		p := d.Members[name]
		step := stepView{Member: name, Step: p.Step, Class: "s-drain"}
		switch p.Step {
		case catalog.StepInRotation, catalog.StepHealthy:
			step.Class = "s-up"
		case catalog.StepFailed:
			step.Class = "s-down"
			if !strings.Contains(d.Error, p.Detail) && !strings.Contains(d.Error, name) { // which stands above
				step.Detail = p.Detail
			}
		case catalog.StepWaiting, catalog.StepStopped:
			step.Class = "s-nocheck"
		case catalog.StepFetching:
			step.Done, step.Total = p.Done, p.Total
		}
		v.Steps = append(v.Steps, step)
	}
	return v
}

func certOf(cert api.Certificate, now time.Time) certView {
	v := certView{C: cert, Class: "up", Ends: "–"}
	left := cert.Expiry.Sub(now)
	switch {
	case cert.Expiry.IsZero():
		v.Class = "nocheck"
	case left < 0:
		v.Ends, v.Class = cert.Expiry.Format("2006-01-02"), "down"
	default:
		v.Ends = fmt.Sprintf("%s (%d days)", cert.Expiry.Format("2006-01-02"), int(left/(24*time.Hour)))
		if left < 7*24*time.Hour {
			v.Class = "going-down"
		}
	}
	if cert.Error != "" {
		v.Class = "going-down"
	}
	return v
}
