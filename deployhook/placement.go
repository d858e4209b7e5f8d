package deployhook

import (
	"maps"
	"slices"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
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

// wantsOf reports whether a release of a site is something that a member is to run. A
// candidate is that on every server on which it is placed, also before its turn there and
// while the server counts as away: it fetches on, and what it began it may end.
func wantsOf(v *catalog.View, m *catalog.Member, site, release string) bool {
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

// mayRead reports whether an application server may have these files: those of a release that
// it is to run.
func mayRead(v *catalog.View, name, files string) bool {
	m := v.Members[name]
	if m == nil || m.Admission != catalog.Accepted {
		return false
	}
	for site, releases := range v.Releases {
		for id := range releases {
			if ids.FilesOf(id) == files && wantsOf(v, m, site, id) {
				return true
			}
		}
	}
	return false
}

// ownOnly leaves out of a report what its member has no part in: an instance that is not
// known yet, of a release that it was not told to run. It would get visitors by it, and by
// having it keep a site that is not placed there.
func ownOnly(v *catalog.View, m catalog.Member, r messages.Report) messages.Report {
	r.Instances = slices.DeleteFunc(slices.Clone(r.Instances), func(in messages.InstanceReport) bool {
		return in.ID != "" && v.Instances[in.ID] == nil && !wantsOf(v, v.Members[m.Name], in.Site, in.Release)
	})
	return r
}

// move brings instances in line with where their sites belong: one whose server has lost
// the site drains once another can take new visitors, and is let go when it is empty.
func (d *Deployer) move(v *catalog.View, now time.Time) (busy bool) {
	for _, in := range d.movable(v) {
		id := in.ID
		site, m := v.Sites[in.Site], v.Members[in.Member]
		if site == nil || m == nil || in.State == catalog.InstanceExited {
			continue
		}
		release := v.Releases[in.Site][in.Release]
		if release == nil {
			continue
		}
		settings, err := site.EffectiveFor(release)
		if err != nil || !in.Leaving && m.Takes(settings) {
			continue
		}
		busy = true
		switch {
		case m.Takes(settings):
			d.update("stay", func(tx *catalog.Tx) error { return command.StayAfterAll(tx, id) })
			d.logger.Info("instance stays: its site belongs on the server again", "site", in.Site, "member", in.Member, "instance", id)
		case in.Admin == catalog.AdminMaint:
		case in.Admin == catalog.AdminDrain:
			if in.Drain != nil && !in.Drain.Ended.IsZero() {
				d.update("moved away", func(tx *catalog.Tx) error { return command.MovedAway(tx, id) })
			}
		case in.Release == site.Release && d.takenElsewhere(v, site, settings):
			deadline := now.Add(max(settings.Deploy.Pin.Std(), settleTime))
			d.update("move away", func(tx *catalog.Tx) error { return command.MoveAway(tx, id, deadline, now) })
			d.logger.Info("instance leaves its server, which the site does not belong on any more: it drains",
				"site", in.Site, "member", in.Member, "instance", id, "deadline", deadline.UTC())
		}
	}
	return busy
}

// placedSite is what was found of a site whose record and releases are these.
type placedSite struct {
	site     *catalog.Site
	releases map[string]*catalog.Release
	servers  bool // some release of it belongs on some servers alone
}

// movable returns the instances that may be where their sites do not belong, or were found there before. The settings of a site are
// worked out when it has changed: most sites belong everywhere, and each change of the catalog comes by here.
func (d *Deployer) movable(v *catalog.View) (list []*catalog.Instance) {
	if d.placed == nil {
		d.placed = map[string]placedSite{}
	}
	for name, site := range v.Sites {
		p := d.placed[name]
		if p.site != site || !catalog.SameMap(p.releases, v.Releases[name]) {
			p = placedSite{site, v.Releases[name], someServers(site, v.Releases[name])}
			d.placed[name] = p
		}
		if p.servers {
			list = append(list, v.InstancesOf(name)...)
		}
	}
	if len(d.placed) > len(v.Sites) {
		maps.DeleteFunc(d.placed, func(name string, _ placedSite) bool { return v.Sites[name] == nil })
	}
	for _, in := range v.Instances {
		if in.Leaving && !d.placed[in.Site].servers {
			list = append(list, in)
		}
	}
	return list
}

// someServers reports whether some release of a site belongs on some servers alone.
func someServers(site *catalog.Site, releases map[string]*catalog.Release) bool {
	for _, r := range releases {
		if settings, err := site.JoinedFor(r); err == nil && len(settings.Servers) > 0 {
			return true
		}
	}
	return false
}

// takenElsewhere reports whether new visitors of a site have an instance on a server that
// the site belongs on.
func (d *Deployer) takenElsewhere(v *catalog.View, site *catalog.Site, s sites.Settings) bool {
	for _, in := range v.InstancesOf(site.Name) {
		if in.State == catalog.InstanceHealthy && takesNew(v, in) && v.Members[in.Member].Takes(s) &&
			(d.o.InRotation == nil || d.o.InRotation(in.ID)) {
			return true
		}
	}
	return false
}
