package wanted

import (
	"maps"
	"slices"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// placement answers which releases belong on one application server, by one view.
type placement struct {
	v *catalog.View
	m *catalog.Member // accepted, an application server
}

func newPlacement(v *catalog.View, m *catalog.Member) *placement { return &placement{v: v, m: m} }

// instances returns the instances of a release that have not ended, nor been told to go, by id.
func (p *placement) instances(site, release string) (list []*catalog.Instance) {
	for _, in := range p.v.InstancesOf(site) {
		if in.Release == release && stays(in) {
			list = append(list, in)
		}
	}
	return list
}

// stays reports whether an instance has neither ended nor been told to go.
func stays(in *catalog.Instance) bool {
	return in.State != catalog.InstanceExited && in.Admin != catalog.AdminMaint
}

// dutyOf is what the server has to do with a release, "" where that is nothing. A server
// that a site has left keeps what runs there until it is empty: as before while nothing
// else can take new visitors, then for the sessions alone.
func (p *placement) dutyOf(site, release string, s sites.Settings, duty messages.Duty) messages.Duty {
	if p.m.Takes(s) {
		return duty
	}
	for _, in := range p.instances(site, release) {
		switch {
		case in.Member != p.m.Name:
		case duty == messages.DutyCandidate:
			return ""
		case in.Admin == catalog.AdminDrain:
			return messages.DutyRetiring
		default:
			return duty
		}
	}
	return ""
}

// mayGet reports whether some release of a site, present or former, belongs on the server.
func (p *placement) mayGet(s *catalog.Site) bool {
	for _, r := range p.v.Releases[s.Name] {
		if settings, err := s.JoinedFor(r); err == nil && p.m.Takes(settings) {
			return true
		}
	}
	return false
}

// holders names the servers that may have a release's files, nil where all may.
func (p *placement) holders(site, release string, s sites.Settings) []string {
	if len(s.Servers) == 0 {
		return nil
	}
	names := map[string]bool{}
	for _, m := range p.v.Servers(s) {
		names[m.Name] = true
	}
	for _, in := range p.instances(site, release) {
		names[in.Member] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// sharesWith reports whether the server has something to fetch from another.
func (p *placement) sharesWith(other string, list []messages.WantedRelease) bool {
	return slices.ContainsFunc(list, func(r messages.WantedRelease) bool { return r.Servers == nil || slices.Contains(r.Servers, other) })
}

// Wants reports whether a release of a site is something that a member is to run. A
// candidate is that on every server on which it is placed, also before its turn there and
// while the server counts as away: it fetches on, and what it began it may end.
func Wants(v *catalog.View, m *catalog.Member, site, release string) bool {
	s := v.Sites[site]
	if s == nil || m == nil || m.Role != catalog.RoleServer || m.Admission != catalog.Accepted {
		return false
	}
	if r := v.Releases[site][release]; r != nil && s.Candidate == release {
		settings, err := s.JoinedFor(r)
		return err == nil && m.Takes(settings)
	}
	return slices.ContainsFunc(newPlacement(v, m).wantedOf(s), func(w messages.WantedRelease) bool { return w.Release == release })
}

// MayRead reports whether an application server may have these files: those of a release that
// it is to run.
func MayRead(v *catalog.View, name, files string) bool {
	m := v.Members[name]
	if m == nil || m.Admission != catalog.Accepted {
		return false
	}
	for site, releases := range v.Releases {
		for id := range releases {
			if ids.FilesOf(id) == files && Wants(v, m, site, id) {
				return true
			}
		}
	}
	return false
}

// OwnOnly leaves out of a report what its member has no part in: an instance that is not
// known yet, of a release that it was not told to run. It would get visitors by it, and by
// having it keep a site that is not placed there.
func OwnOnly(v *catalog.View, m catalog.Member, r messages.Report) messages.Report {
	r.Instances = slices.DeleteFunc(slices.Clone(r.Instances), func(in messages.InstanceReport) bool {
		return in.ID != "" && v.Instances[in.ID] == nil && !Wants(v, v.Members[m.Name], in.Site, in.Release)
	})
	return r
}
