package deployhook

import (
	"maps"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

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
