package catalog

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"portico/internal/ordered"
)

// siteInstances is the place of a view's list of instances by site. It is made when somebody asks first, as the index of routes is.
type siteInstances struct {
	of map[string]*Instance // the instances of the view

	once sync.Once
	made atomic.Pointer[ordered.List[*Instance]]
}

func bySiteAndID(a, b *Instance) int {
	return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.ID, b.ID))
}

func newSiteInstances(of map[string]*Instance) *ordered.List[*Instance] {
	list := make([]*Instance, 0, len(of))
	for _, in := range of {
		list = append(list, in)
	}
	slices.SortFunc(list, bySiteAndID)
	o := ordered.Of(list, bySiteAndID)
	return &o
}

func (b *siteInstances) list() *ordered.List[*Instance] {
	b.once.Do(func() {
		if b.made.Load() == nil {
			b.made.Store(newSiteInstances(b.of))
		}
	})
	return b.made.Load()
}

// next returns the place of the list of the next view, of whose instances those that are named may differ.
func (b *siteInstances) next(of map[string]*Instance, changed map[string]bool) *siteInstances {
	n := &siteInstances{of: of}
	last := b.made.Load()
	switch {
	case last == nil:
		return n
	case len(changed) > fewSites:
		n.made.Store(newSiteInstances(of))
		return n
	}
	var left, come []*Instance
	for id := range changed {
		if old := b.of[id]; old != nil {
			left = append(left, old)
		}
		if now := of[id]; now != nil {
			come = append(come, now)
		}
	}
	list := last.With(left, come)
	n.made.Store(&list)
	return n
}

// InstancesOf returns the instances of a site, by id. It looks at no others.
func (v *View) InstancesOf(site string) []*Instance {
	var out []*Instance
	if v.siteInstances == nil || !SameMap(v.siteInstances.of, v.Instances) { // a view that was not read from the store
		for _, in := range v.Instances {
			if in.Site == site {
				out = append(out, in)
			}
		}
		slices.SortFunc(out, bySiteAndID)
		return out
	}
	for in := range v.siteInstances.list().From(func(in *Instance) int { return cmp.Compare(in.Site, site) }) {
		if in.Site != site {
			break
		}
		out = append(out, in)
	}
	return out
}
