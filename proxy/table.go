package proxy

import (
	"cmp"
	"slices"
	"strings"

	"portico/balancer"
	"portico/proxy/fault"
	"portico/proxy/route"
)

// table leads a host and a path to a site. It is immutable and published behind
// one atomic pointer: a request reads it once and never sees half a change.
type table struct {
	revision int64
	exact    map[string]routes // by normalized host
	wild     map[string]routes // by what follows "*."
	fallback routes            // sites that name no host
	private  bool              // some site is, see session.connection
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

// routes are the sites of one host, longest mount path first.
type routes []*site

// newTable builds the routes of sites. Where two sites claim the same host and
// path, the name that sorts first has it: the catalog refuses such a pair, and a
// proxy that sees one all the same must not flip between them.
func newTable(revision int64, sites map[string]*site) *table {
	t := &table{revision: revision, exact: map[string]routes{}, wild: map[string]routes{}, sites: sites, byID: map[string]placed{}}
	names := make([]string, 0, len(sites))
	for name := range sites {
		names = append(names, name)
	}
	slices.Sort(names)
	t.names = names
	for _, name := range names {
		st := sites[name]
		t.private = t.private || st.private
		if len(st.hosts) == 0 {
			t.fallback = append(t.fallback, st)
		}
		for _, h := range st.hosts {
			if suffix, ok := strings.CutPrefix(h, "*."); ok {
				t.wild[suffix] = append(t.wild[suffix], st)
			} else {
				t.exact[h] = append(t.exact[h], st)
			}
		}
	}
	for _, r := range t.exact {
		r.sort()
	}
	for _, r := range t.wild {
		r.sort()
	}
	t.fallback.sort()
	return t
}

func (r routes) sort() {
	slices.SortStableFunc(r, func(a, b *site) int { return cmp.Compare(len(b.mount), len(a.mount)) })
}

// match returns the site with the longest mount path that covers a normalized
// path.
func (r routes) match(path string) *site {
	for _, st := range r {
		if route.UnderMount(path, st.mount) {
			return st
		}
	}
	return nil
}

// host returns the routes of a normalized host: those that name it exactly,
// else those of the longest wildcard over it, else those of sites without
// hosts. The first that exists decides alone: a path that an exact host does not
// serve is not looked for anywhere else.
func (t *table) host(host string) routes {
	if r, ok := t.exact[host]; ok {
		return r
	}
	if len(t.wild) > 0 {
		rest := host
		for {
			i := strings.IndexByte(rest, '.')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			if r, ok := t.wild[rest]; ok {
				return r
			}
		}
	}
	return t.fallback
}

// lookup returns the site for a normalized host and path, or nil.
func (t *table) lookup(host, path string) *site { return t.host(host).match(path) }

// tlsPolicy returns what the sites of a host ask of TLS. Two hosts with unlike
// policies must not share a connection, see sameTLSPolicy.
func (t *table) tlsPolicy(host string) string {
	r := t.host(host)
	if len(r) == 0 {
		return ""
	}
	return r[0].tlsMode
}

// sameTLSPolicy reports whether a request for host may travel on a connection
// that was opened for sni (RFC 9110 section 7.4). Without SNI there is nothing
// to compare.
func (t *table) sameTLSPolicy(sni, host string) bool {
	if sni == "" || sni == host { // as nearly always; host is normalized
		return true
	}
	name, ok := route.ParseHost(sni)
	return ok && (name == host || t.tlsPolicy(name) == t.tlsPolicy(host))
}

// routed is the outcome of routing one request.
type routed struct {
	site *site
	host string // normalized
	path string // normalized
}

// route finds the site for a request. authority and rawPath are as they came;
// secure says whether the connection is TLS, sni what it was opened for.
func (t *table) route(authority, rawPath string, secure bool, sni string) (routed, *fault.Fault) {
	host, of := authority, t.exact[authority]
	if of == nil || strings.IndexByte(host, ':') >= 0 { // else it is in its one form already, as nearly always
		var ok bool
		if host, ok = route.ParseHost(authority); !ok {
			return routed{}, fault.BadRequest
		}
		of = t.host(host)
	}
	path, ok := route.NormalizePath(rawPath)
	if !ok {
		return routed{host: host}, fault.BadRequest
	}
	r := routed{host: host, path: path}
	st := of.match(path)
	if st == nil {
		return r, fault.UnknownHost
	}
	if secure && (st.tlsMode == "off" || !t.sameTLSPolicy(sni, host)) {
		return r, fault.Misdirected
	}
	r.site = st
	return r, nil
}
