package proxy

import (
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"

	"portico/membership/catalog"
)

// changed are the names of the sites that an update has to look at.
type changed map[string]bool

func (c changed) add(site string) { c[site] = true }

func (c changed) sorted() []string { return slices.Sorted(maps.Keys(c)) }

// records adds the sites whose record differs, or whose releases do.
func (c changed) records(last, view *catalog.View) {
	for was, is := range differences(last.Sites, view.Sites) {
		if is == nil {
			is = was
		}
		c.add(is.Name)
	}
	if sameMap(last.Releases, view.Releases) {
		return
	}
	for name, is := range view.Releases {
		if was := last.Releases[name]; !sameMap(was, is) && !maps.Equal(was, is) {
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
	for was, is := range differences(last.Members, view.Members) {
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

// differences lists the entries of two maps that are not the same, as they were and as they are; nil: not there.
func differences[T any](last, now map[string]*T) iter.Seq2[*T, *T] {
	return func(yield func(was, is *T) bool) {
		if sameMap(last, now) {
			return
		}
		for key, is := range now {
			if was := last[key]; was != is && !yield(was, is) {
				return
			}
		}
		for key, was := range last {
			if _, there := now[key]; !there && !yield(was, nil) {
				return
			}
		}
	}
}

// sameMap reports whether a and b are one map: a view shares with the one before
// it what has not changed, such as everything when an account is added.
func sameMap[T any](a, b map[string]T) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// instances are those of a view by their sites, in the order of their ids, so that the same view makes the same pools everywhere.
type instances map[string][]*catalog.Instance

func (s instances) find(in *catalog.Instance) (int, bool) {
	return slices.BinarySearchFunc(s[in.Site], in.ID, func(a *catalog.Instance, id string) int { return strings.Compare(a.ID, id) })
}

func (s instances) add(in *catalog.Instance) {
	if i, there := s.find(in); there {
		s[in.Site][i] = in
	} else {
		s[in.Site] = slices.Insert(s[in.Site], i, in)
	}
}

func (s instances) remove(in *catalog.Instance) {
	i, there := s.find(in)
	if !there {
		return
	}
	if of := slices.Delete(s[in.Site], i, i+1); len(of) > 0 {
		s[in.Site] = of
	} else {
		delete(s, in.Site)
	}
}
