package proxy

import (
	"maps"
	"slices"

	"portico/balancer"
	"portico/proxy/route"
)

// table is what is served at one moment. It is immutable and published behind
// one atomic pointer: a request reads it once and never sees half a change.
type table struct {
	*route.Table[*site]
	revision int64
	sites    map[string]*site
	names    []string          // of sites, sorted
	byID     map[string]placed // instance id to where it stands
}

// placed is an upstream in the pool of a site.
type placed struct {
	site     *site
	upstream *balancer.Upstream
	next     bool // of a release that is being installed: checked, not yet for visitors
}

// newTable lists sites. Where two of them claim the same host and
// path, the name that sorts first has it: the catalog refuses such a pair, and a
// proxy that sees one all the same must not flip between them.
func newTable(revision int64, sites map[string]*site) *table {
	names := slices.Sorted(maps.Keys(sites))
	entries := make([]route.Entry[*site], len(names))
	for i, name := range names {
		entries[i] = route.Entry[*site]{Rule: &sites[name].Rule, Site: sites[name]}
	}
	return &table{Table: route.New(entries), revision: revision, sites: sites, names: names, byID: map[string]placed{}}
}
