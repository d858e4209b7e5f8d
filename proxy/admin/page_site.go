package admin

import (
	"cmp"
	"slices"
	"time"

	"portico/deployhook"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
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
