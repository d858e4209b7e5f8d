package proxy

import (
	"maps"
	"slices"

	"portico/membership/catalog"
)

// changed are the names of the sites that an update has to look at.
type changed map[string]bool

func (c changed) add(site string) { c[site] = true }

func (c changed) sorted() []string { return slices.Sorted(maps.Keys(c)) }

// records adds the sites whose record differs, or whose releases do.
func (c changed) records(last, view *catalog.View) {
	for was, is := range catalog.Differences(last.Sites, view.Sites) {
		if is == nil {
			is = was
		}
		c.add(is.Name)
	}
	if catalog.SameMap(last.Releases, view.Releases) {
		return
	}
	for name, is := range view.Releases {
		if was := last.Releases[name]; !catalog.SameMap(was, is) && !maps.Equal(was, is) {
			c.add(name)
		}
	}
	for name := range last.Releases {
		if view.Releases[name] == nil {
			c.add(name)
		}
	}
}

// members adds the sites with an instance of a member that differs in what they have from it.
func (c changed) members(last, view *catalog.View) {
	differ := map[string]bool{}
	for was, is := range catalog.Differences(last.Members, view.Members) {
		switch {
		case is == nil:
			differ[was.Name] = true
		case was == nil || !alike(was, is):
			differ[is.Name] = true
		}
	}
	if len(differ) == 0 {
		return
	}
	for _, in := range view.Instances {
		if differ[in.Member] {
			c.add(in.Site)
		}
	}
}

// alike reports whether a member's instances are as they were, as far as it is up to the member.
func alike(a, b *catalog.Member) bool {
	return a.Admission == b.Admission && a.Addr == b.Addr && a.Fingerprint == b.Fingerprint && a.Zone == b.Zone && a.Weight == b.Weight &&
		a.Admin == b.Admin && a.Overdue == b.Overdue && slices.Equal(a.Labels, b.Labels)
}
