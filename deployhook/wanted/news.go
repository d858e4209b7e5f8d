package wanted

import (
	"cmp"
	"reflect"
	"slices"
	"sync"

	"portico/membership/catalog"
)

// manySites is how many sites may differ between two views before a member's wanted state is worked out whole: that is cheaper then.
const manySites = 200

// News tells what differs between two views. All members that wait go from the same view to the same one, so the last answer is kept.
// It holds two views at most.
type News struct {
	mu       sync.Mutex
	from, to *catalog.View
	sites    map[string]bool
	known    bool // no wanted state differs but by these sites
}

// between returns the sites by which the wanted states of two views can differ, and false where they can differ by more than that.
func (n *News) between(from, to *catalog.View) (sites map[string]bool, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.from != from || n.to != to {
		n.from, n.to, n.sites = from, to, nil
		n.known = from.ClusterID == to.ClusterID && sameMembers(from.Members, to.Members)
		if n.known {
			n.sites = changedSites(from, to)
		}
	}
	return n.sites, n.known
}

// Same reports whether a member's wanted state is the same at both views but for the revision. It may say no of one that is the
// same, and never yes of one that is not. What Of reads of a view must be compared here.
func (n *News) Same(from, to *catalog.View, name string) bool {
	switch {
	case from == nil:
		return false
	case from == to:
		return true
	}
	sites, known := n.between(from, to)
	switch {
	case !known:
		return false
	case !isServer(to.Members[name]): // it was none before either: the members are the same
		return true
	case len(sites) > manySites:
		return false
	}
	before, now := newPlacement(from, from.Members[name]), newPlacement(to, to.Members[name])
	for site := range sites {
		if !reflect.DeepEqual(before.partOf(site), now.partOf(site)) {
			return false
		}
	}
	return true
}

// sameMembers reports whether the accepted members are the same as far as others are told of them, or sites are placed by them. A
// machine that knocks, and what an operator or an agent says of a member besides, is nothing to a wanted state.
func sameMembers(from, to map[string]*catalog.Member) bool {
	for was, now := range catalog.Differences(from, to) {
		if !sameMember(was, now) {
			return false
		}
	}
	return true
}

func sameMember(a, b *catalog.Member) bool {
	if !isAccepted(a) || !isAccepted(b) {
		return isAccepted(a) == isAccepted(b)
	}
	return a.Name == b.Name && a.Role == b.Role && a.Addr == b.Addr && a.Fingerprint == b.Fingerprint && slices.Equal(a.Labels, b.Labels)
}

func isAccepted(m *catalog.Member) bool { return m != nil && m.Admission == catalog.Accepted }

func isServer(m *catalog.Member) bool { return isAccepted(m) && m.Role == catalog.RoleServer }

// changedSites returns the sites of which anything that Of reads is another record. It compares pointers, and works out no settings.
func changedSites(from, to *catalog.View) map[string]bool {
	sites := map[string]bool{}
	for was, now := range catalog.Differences(from.Sites, to.Sites) {
		sites[cmp.Or(now, was).Name] = true
	}
	if !catalog.SameMap(from.Releases, to.Releases) {
		for site, releases := range to.Releases {
			if !catalog.SameMap(from.Releases[site], releases) {
				sites[site] = true
			}
		}
		for site := range from.Releases {
			if _, ok := to.Releases[site]; !ok {
				sites[site] = true
			}
		}
	}
	for was, now := range catalog.Differences(from.Instances, to.Instances) {
		if a, b := roomOf(was), roomOf(now); a != b {
			sites[a.site], sites[b.site] = true, true
		}
	}
	deploys := map[string]bool{}
	for _, d := range unlikeDeploys(from.Deploys, to.Deploys) {
		deploys[d.ID], sites[d.Site] = true, true
	}
	if len(deploys) > 0 {
		for name, s := range to.Sites {
			if deploys[s.Deploy] {
				sites[name] = true
			}
		}
	}
	delete(sites, "")
	return sites
}

// room is what a wanted state depends on of an instance; the zero value where it depends on nothing of it.
type room struct {
	site, release, member string
	drains                bool
}

func roomOf(in *catalog.Instance) room {
	if in == nil || !stays(in) {
		return room{}
	}
	return room{in.Site, in.Release, in.Member, in.Admin == catalog.AdminDrain}
}

// unlikeDeploys returns the deploys of either list that the other has not.
func unlikeDeploys(a, b []*catalog.Deploy) (list []*catalog.Deploy) {
	if len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) {
		return nil
	}
	in := make(map[*catalog.Deploy]bool, len(a))
	for _, d := range a {
		in[d] = true
	}
	for _, d := range b {
		if in[d] {
			delete(in, d)
		} else {
			list = append(list, d)
		}
	}
	for d := range in {
		list = append(list, d)
	}
	return list
}
