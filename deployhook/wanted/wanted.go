package wanted

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// Of returns what the member called name should run at this view. It is
// pure: two proxies with the same view give the same answer. A member that is
// not an accepted application server gets an empty document, which stops
// everything it may still run. A member is told of what belongs on it and of nothing
// else: neither the names nor the settings of other sites, nor servers with which it
// has no site in common.
func Of(v *catalog.View, name string) messages.Wanted {
	w := messages.Wanted{Revision: v.Revision, Cluster: v.ClusterID, Keep: map[string][]string{}}
	m := v.Members[name]
	if m == nil || m.Admission != catalog.Accepted || m.Role != catalog.RoleServer {
		return w
	}
	p := newPlacement(v, m)
	for _, site := range slices.Sorted(maps.Keys(v.Sites)) {
		of := p.partOf(site)
		w.Releases = append(w.Releases, of.releases...)
		if of.told {
			w.Keep[site] = of.keep
		}
	}
	for _, other := range slices.Sorted(maps.Keys(v.Members)) {
		peer := v.Members[other]
		switch {
		case other == name || peer.Admission != catalog.Accepted:
		case peer.Role == catalog.RoleProxy:
			w.Proxies = append(w.Proxies, messages.Peer{Name: other, Addr: peer.Addr, Fingerprint: peer.Fingerprint})
		case peer.Role == catalog.RoleServer && p.sharesWith(other, w.Releases):
			w.Servers = append(w.Servers, messages.Peer{Name: other, Addr: peer.Addr, Fingerprint: peer.Fingerprint})
		}
	}
	return w
}

// part is what a wanted state says of one site.
type part struct {
	releases []messages.WantedRelease
	told     bool // the member hears of the site
	keep     []string
}

func (p *placement) partOf(site string) (of part) {
	s := p.v.Sites[site]
	if s == nil {
		return part{}
	}
	of.releases = p.wantedOf(s)
	if of.told = len(of.releases) > 0 || p.mayGet(s); of.told {
		of.keep = slices.Sorted(maps.Keys(p.v.Releases[site]))
	}
	return of
}

// wantedOf returns the releases of one site: candidate, current, retiring. A
// release has one duty; the first that applies wins, so that a rollback to a
// release which still retires finds its instance running.
func (p *placement) wantedOf(s *catalog.Site) []messages.WantedRelease {
	var list []messages.WantedRelease
	add := func(digest string, duty messages.Duty, deploy string, before bool) {
		release := p.v.Releases[s.Name][digest]
		if release == nil || slices.ContainsFunc(list, func(w messages.WantedRelease) bool { return w.Release == digest }) {
			return
		}
		settings, err := s.JoinedFor(release)
		if err != nil {
			return // an override that no longer fits is shown at the site; nothing starts on half a setting
		}
		if duty = p.dutyOf(s.Name, digest, settings, duty); duty == "" {
			return
		}
		list = append(list, messages.WantedRelease{
			Site: s.Name, Release: digest, Duty: duty, Deploy: deploy,
			Before:   before && len(settings.Deploy.Before) > 0,
			Settings: settings.WithDefaults(s.Name),
			Servers:  p.holders(s.Name, digest, settings),
		})
	}
	member := p.m.Name
	if d := p.v.Deploy(s.Deploy); d != nil && s.Candidate != "" && d.Members[member].Begun() {
		add(s.Candidate, messages.DutyCandidate, d.ID, runsBefore(d, member))
	}
	if s.Release != "" {
		add(s.Release, messages.DutyCurrent, lastDeployOf(p.v, s), false)
	}
	for _, r := range s.Retiring {
		add(r.Release, messages.DutyRetiring, "", false)
	}
	return list
}

// lastDeployOf returns the deploy that made the current release current, so
// that an agent can tell "try again" from "still the same".
func lastDeployOf(v *catalog.View, s *catalog.Site) string {
	for _, d := range v.Deploys {
		if d.Site == s.Name && d.Release == s.Release && d.State == catalog.DeploySucceeded {
			return d.ID
		}
	}
	return ""
}

// runsBefore reports whether the member runs the site's before command: as long
// as it is the only one that has begun. Plan lets the others begin when that
// one is healthy, which it cannot be without its before command.
func runsBefore(d *catalog.Deploy, member string) bool {
	if d.Rollback || d.Settings {
		return false
	}
	for other, p := range d.Members {
		if other != member && p.Begun() {
			return false
		}
	}
	return true
}

// Sum is the content of a wanted state without its revision.
func Sum(w messages.Wanted) [sha256.Size]byte {
	w.Revision = 0
	b, err := json.Marshal(w)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return sha256.Sum256(b)
}
