package page

import (
	"net/http"

	"portico/balancer/figures"
	"portico/deployhook"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/recent"
)

// Site is a site's own page: its instances, releases, sessions and what went
// wrong lately.
type Site struct {
	Frame
	View   *catalog.View
	Site   *catalog.Site
	Pool   *figures.Pool                 // with the sessions of all proxies; nil: it has none
	Recent func(instanceID string) int64 // sessions used in the last 5 minutes

	Releases           []api.ReleaseInfo // the newest first
	Drains             []deployhook.Drain
	EndedDrains        []deployhook.EndedDrain
	Find, Member, Idle string // what is searched for
	Sessions           api.SessionList
	Failures           []recent.Exchange
}

// Site shows the page of one site; fragment leaves out what does not change.
func (p *Page) Site(w http.ResponseWriter, in *Site, fragment bool) error {
	name := "site"
	if fragment {
		name = "sitelive"
	}
	return p.show(w, http.StatusOK, name, in.view())
}

// siteView is what its templates read.
type siteView struct {
	*Site
	Title             string
	Name, Hosts, Path string // Path of this page
	Release           string
	Verbs             []Verb // for the site as a whole
	Pool              poolView
	Recent            int64 // sessions used in the last 5 minutes
	Instances         []instanceView
	Releases          []releaseView
	Drains            []drainView
	Deploys           []deployView
	SessionVerbs      []Verb
}

// Back is where the page's questions return to.
func (v *siteView) Back() string { return v.Path }

type instanceView struct {
	rowView
	Recent int64
	Note   string // what its agent says of it, while it is up
	Verbs  []Verb
}

type releaseView struct {
	api.ReleaseInfo
	State    string
	Sessions int

	Recounting bool // of the sessions
	Verbs      []Verb
}

func (in *Site) view() *siteView {
	name := in.Site.Name
	v := &siteView{
		Site: in, Title: name + " · portico", Name: name, Path: SitePath(name), Release: in.Site.Release,
		Verbs:        offered(in.Who, Target{Site: name}, VerbDeploy, VerbRemove),
		SessionVerbs: offered(in.Who, Target{Site: name, Session: "0"}, VerbMove, VerbEnd),
	}
	if in.Pool != nil {
		v.Pool, _ = poolOf(Only{}, in.View, in.Pool)
		v.Hosts = v.Pool.Hosts
	}
	for _, r := range v.Pool.Rows {
		line := in.instance(r)
		v.Recent += line.Recent
		v.Instances = append(v.Instances, line)
	}
	v.Releases = in.releases(v.Pool.Rows)
	for _, d := range in.Drains {
		v.Drains = append(v.Drains, drainOf(&in.Frame, d))
	}
	v.Deploys = deploysOf(&in.Frame, in.View, func(site string) bool { return site == name })
	return v
}

func (in *Site) instance(r rowView) instanceView {
	v := instanceView{rowView: r, Recent: in.Recent(r.U.ID)}
	if rec := in.View.Instances[r.U.ID]; rec != nil {
		if rec.State == catalog.InstanceHealthy {
			v.Note = rec.Detail
		}
		v.Verbs = offered(in.Who, Target{Site: in.Site.Name, Instance: r.U.ID}, instanceVerbs(rec.Admin, r.U.Retiring)...)
	}
	return v
}

// releases are the site's, with what can be done to each.
func (in *Site) releases(rows []rowView) (out []releaseView) {
	sessions, recounting := map[string]int{}, map[string]bool{}
	for _, r := range rows {
		sessions[r.U.Release] += r.U.Sessions
		recounting[r.U.Release] = recounting[r.U.Release] || r.U.Recounting
	}
	for _, r := range in.Releases {
		v := releaseView{ReleaseInfo: r, State: "kept", Sessions: sessions[r.Digest], Recounting: recounting[r.Digest]}
		t := Target{Site: in.Site.Name, Release: r.Digest}
		switch {
		case r.Current:
			v.State = "current"
		case r.Retiring:
			v.State, v.Verbs = "retiring", offered(in.Who, t, VerbRollback, api.VerbDrain, VerbCut)
		case r.Digest == in.Site.Candidate:
			v.State = "being deployed"
		default:
			v.Verbs = offered(in.Who, t, VerbRollback)
		}
		out = append(out, v)
	}
	return out
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
