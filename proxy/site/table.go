package site

import (
	"iter"
	"slices"

	"portico/balancer"
	"portico/internal/cow"
	"portico/proxy/route"
)

// Table is what is served at one moment. It is immutable and published behind
// one atomic pointer: a request reads it once and never sees half a change.
type Table struct {
	*route.Table[*Site]
	Revision int64
	Names    []string // of sites, sorted

	sites     cow.Map[*Site]  // by name
	instances cow.Map[Placed] // by id
}

// Placed is an upstream in the pool of a site.
type Placed struct {
	Site     *Site
	Upstream *balancer.Upstream
	Next     bool // of a release that is being installed: checked, not yet for visitors
}

// Change is what becomes of one site.
type Change struct {
	Name   string
	Before *Site    // nil: it is new
	After  *Site    // nil: it is gone
	Placed []Placed // its instances
	Gone   []string // ids of those that are not among them any more
}

// NewTable returns the table without sites.
func NewTable() *Table { return &Table{Table: &route.Table[*Site]{}} }

// Site returns the site of a name, or nil.
func (t *Table) Site(name string) *Site {
	st, _ := t.sites.Get(name)
	return st
}

// Sites lists all sites by their names, in no order.
func (t *Table) Sites() iter.Seq2[string, *Site] { return t.sites.All() }

// Instance returns where the instance with an id stands.
func (t *Table) Instance(id string) (Placed, bool) { return t.instances.Get(id) }

// Change returns a table with these changes, of which no two are of one site. It takes as long as they are many, however large the table
// is. Where two sites claim the same host and path, the name that sorts first has it: the catalog refuses such a pair, and a proxy that
// sees one all the same must not flip between them.
func (t *Table) Change(revision int64, changes []Change) *Table {
	var gone, now []route.Entry[*Site]
	sites, instances := t.sites.Edit(), t.instances.Edit()
	for i := range changes {
		c := &changes[i]
		if c.Before != nil {
			gone = append(gone, entry(c.Before))
		}
		if c.After != nil {
			now = append(now, entry(c.After))
			sites.Set(c.Name, c.After)
		} else {
			sites.Delete(c.Name)
		}
		for _, id := range c.Gone {
			instances.Delete(id)
		}
	}
	for i := range changes { // after all that are gone: an id may have gone over to another site
		for _, p := range changes[i].Placed {
			instances.Set(p.Upstream.ID(), p)
		}
	}
	return &Table{
		Table: t.Table.Edit(gone, now), Revision: revision, Names: t.names(changes),
		sites: *sites.Map(), instances: *instances.Map(),
	}
}

func entry(st *Site) route.Entry[*Site] {
	return route.Entry[*Site]{Rule: &st.Rule, Name: st.Name, Site: st}
}

// names lists the sites after changes. Most change none.
func (t *Table) names(changes []Change) []string {
	var come []string
	gone := map[string]bool{}
	for _, c := range changes {
		switch {
		case c.Before == nil && c.After != nil:
			come = append(come, c.Name)
		case c.Before != nil && c.After == nil:
			gone[c.Name] = true
		}
	}
	if len(come) == 0 && len(gone) == 0 {
		return t.Names
	}
	names := make([]string, 0, len(t.Names)+len(come)-len(gone))
	for _, name := range t.Names {
		if !gone[name] {
			names = append(names, name)
		}
	}
	names = append(names, come...)
	slices.Sort(names)
	return names
}
