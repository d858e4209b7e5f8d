package admin

import (
	"net/url"
	"strings"

	"portico/deployhook"
)

// pageTarget is what a button of the page is about: a member, or a site and
// perhaps something of it.
type pageTarget struct{ Member, Site, Release, Instance, Session string }

// targetOf reads a target from a query or a form.
func targetOf(q url.Values) pageTarget {
	return pageTarget{Member: q.Get("member"), Site: q.Get("site"), Release: q.Get("release"), Instance: q.Get("instance"), Session: q.Get("session")}
}

// What buttons can be about.
const (
	onMember   = "member"
	onSite     = "site"
	onRelease  = "release"
	onInstance = "instance"
	onSession  = "session"
	onNothing  = "" // a site that is not there yet
)

func (t pageTarget) kind() string {
	switch {
	case t.Member != "":
		return onMember
	case t.Session != "":
		return onSession
	case t.Instance != "":
		return onInstance
	case t.Release != "":
		return onRelease
	case t.Site != "":
		return onSite
	}
	return onNothing
}

// String names the target as people do.
func (t pageTarget) String() string {
	switch t.kind() {
	case onMember:
		return t.Member
	case onSession:
		return "session " + t.Session + " of " + t.Site
	case onInstance:
		return t.Site + "/" + t.Instance
	case onRelease:
		return t.Site + "@" + shortDigest(t.Release)
	case onSite:
		return t.Site
	}
	return "a new site"
}

// fields are the target's parts by name, for queries and forms.
func (t pageTarget) fields() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"member": t.Member, "site": t.Site, "release": t.Release, "instance": t.Instance, "session": t.Session} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// drainTarget is the target as the deployer names it.
func (t pageTarget) drainTarget() deployhook.Target {
	return deployhook.Target{Member: t.Member, Site: t.Site, Instance: t.Instance, Release: t.Release}
}

// sitePath is where a site's own page is.
func sitePath(site string) string {
	return "/stats/sites/" + url.PathEscape(strings.ToValidUTF8(site, ""))
}
