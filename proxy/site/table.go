package site

import (
	"maps"
	"slices"

	"portico/balancer"
	"portico/proxy/route"
)

// Table is what is served at one moment. It is immutable and published behind
// one atomic pointer: a request reads it once and never sees half a change.
type Table struct {
	*route.Table[*Site]
	Revision int64
	Sites    map[string]*Site
	Names    []string          // of sites, sorted
	ByID     map[string]Placed // instance id to where it stands
}

// Placed is an upstream in the pool of a site.
type Placed struct {
	Site     *Site
	Upstream *balancer.Upstream
	Next     bool // of a release that is being installed: checked, not yet for visitors
}

// NewTable lists sites. Where two of them claim the same host and
// path, the name that sorts first has it: the catalog refuses such a pair, and a
// proxy that sees one all the same must not flip between them.
func NewTable(revision int64, sites map[string]*Site) *Table {
	names := slices.Sorted(maps.Keys(sites))
	entries := make([]route.Entry[*Site], len(names))
	for i, name := range names {
		entries[i] = route.Entry[*Site]{Rule: &sites[name].Rule, Site: sites[name]}
	}
	return &Table{Table: route.New(entries), Revision: revision, Sites: sites, Names: names, ByID: map[string]Placed{}}
}
