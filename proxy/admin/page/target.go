package page

import (
	"net/url"
	"strings"

	"portico/deployhook"
)

// Target is what a button of the page is about: a member, or a site and
// perhaps something of it.
type Target struct{ Member, Site, Release, Instance, Session string }

// TargetOf reads a target from a query or a form.
func TargetOf(q url.Values) Target {
	return Target{Member: q.Get("member"), Site: q.Get("site"), Release: q.Get("release"), Instance: q.Get("instance"), Session: q.Get("session")}
}

// What buttons can be about.
const (
	OnMember   = "member"
	OnSite     = "site"
	OnRelease  = "release"
	OnInstance = "instance"
	OnSession  = "session"
	OnNothing  = "" // a site that is not there yet
)

// Kind is the most particular thing that the target names.
func (t Target) Kind() string {
	switch {
	case t.Member != "":
		return OnMember
	case t.Session != "":
		return OnSession
	case t.Instance != "":
		return OnInstance
	case t.Release != "":
		return OnRelease
	case t.Site != "":
		return OnSite
	}
	return OnNothing
}

// String names the target as people do.
func (t Target) String() string {
	switch t.Kind() {
	case OnMember:
		return t.Member
	case OnSession:
		return "session " + t.Session + " of " + t.Site
	case OnInstance:
		return t.Site + "/" + t.Instance
	case OnRelease:
		return t.Site + "@" + shortDigest(t.Release)
	case OnSite:
		return t.Site
	}
	return "a new site"
}

// Fields are the target's parts by name, for queries and forms.
func (t Target) Fields() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"member": t.Member, "site": t.Site, "release": t.Release, "instance": t.Instance, "session": t.Session} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// DrainTarget is the target as the deployer names it.
func (t Target) DrainTarget() deployhook.Target {
	return deployhook.Target{Member: t.Member, Site: t.Site, Instance: t.Instance, Release: t.Release}
}

// SitePath is where a site's own page is.
func SitePath(site string) string {
	return "/stats/sites/" + url.PathEscape(strings.ToValidUTF8(site, ""))
}
