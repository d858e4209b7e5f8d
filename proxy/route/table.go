package route

import (
	"cmp"
	"slices"
	"strings"

	"portico/conf/sites"
	"portico/proxy/fault"
)

// Table leads a host and a path to a site, of which it knows the rule alone. It is immutable.
type Table[S any] struct {
	exact    map[string]entries[S] // by normalized host
	wild     map[string]entries[S] // by what follows "*."
	fallback entries[S]            // sites that name no host
	private  bool                  // some site is
}

// Entry is a site and its rule.
type Entry[S any] struct {
	*Rule
	Site S
}

// entries are the sites of one host, longest mount path first.
type entries[S any] []Entry[S]

// New builds a table. Where two sites claim the same host and path, the first has it.
func New[S any](sites []Entry[S]) *Table[S] {
	t := &Table[S]{exact: map[string]entries[S]{}, wild: map[string]entries[S]{}}
	for _, e := range sites {
		t.private = t.private || e.Private
		if len(e.Hosts) == 0 {
			t.fallback = append(t.fallback, e)
		}
		for _, h := range e.Hosts {
			if suffix, ok := strings.CutPrefix(h, "*."); ok {
				t.wild[suffix] = append(t.wild[suffix], e)
			} else {
				t.exact[h] = append(t.exact[h], e)
			}
		}
	}
	for _, e := range t.exact {
		e.sort()
	}
	for _, e := range t.wild {
		e.sort()
	}
	t.fallback.sort()
	return t
}

func (s entries[S]) sort() {
	slices.SortStableFunc(s, func(a, b Entry[S]) int { return cmp.Compare(len(b.Mount), len(a.Mount)) })
}

// match returns the entry with the longest mount path that covers a normalized
// path, or nil.
func (s entries[S]) match(path string) *Entry[S] {
	for i := range s {
		if UnderMount(path, s[i].Mount) {
			return &s[i]
		}
	}
	return nil
}

// host returns the sites of a normalized host: those that name it exactly,
// else those of the longest wildcard over it, else those of sites without
// hosts. The first that exists decides alone: a path that an exact host does not
// serve is not looked for anywhere else.
func (t *Table[S]) host(host string) entries[S] {
	if s, ok := t.exact[host]; ok {
		return s
	}
	if len(t.wild) > 0 {
		rest := host
		for {
			i := strings.IndexByte(rest, '.')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			if s, ok := t.wild[rest]; ok {
				return s
			}
		}
	}
	return t.fallback
}

// Lookup returns the entry for a normalized host and path, or nil.
func (t *Table[S]) Lookup(host, path string) *Entry[S] { return t.host(host).match(path) }

// tlsPolicy returns what the sites of a host ask of TLS. Two hosts with unlike
// policies must not share a connection, see sameTLSPolicy.
func (t *Table[S]) tlsPolicy(host string) string {
	s := t.host(host)
	if len(s) == 0 {
		return ""
	}
	return s[0].TLSMode
}

// sameTLSPolicy reports whether a request for host may travel on a connection
// that was opened for sni (RFC 9110 section 7.4). Without SNI there is nothing
// to compare.
func (t *Table[S]) sameTLSPolicy(sni, host string) bool {
	if sni == "" || sni == host { // as nearly always; host is normalized
		return true
	}
	name, ok := ParseHost(sni)
	return ok && (name == host || t.tlsPolicy(name) == t.tlsPolicy(host))
}

// Private reports whether every site of a host is private, so that who opens a connection for it need not be offered HTTP/2. sni is
// the host as it came.
func (t *Table[S]) Private(sni string) bool {
	if !t.private {
		return false
	}
	host, ok := ParseHost(sni)
	if !ok {
		return false
	}
	s := t.host(host)
	return len(s) > 0 && !slices.ContainsFunc(s, func(e Entry[S]) bool { return !e.Private })
}

// Why says by which rule a normalized host is served.
func (t *Table[S]) Why(host string) string {
	s := t.host(host)
	if len(s) == 0 {
		return "no site names it, and none answers for all hosts"
	}
	if _, ok := t.exact[host]; ok {
		return "named by a site"
	}
	if len(s[0].Hosts) == 0 {
		return "named by no site, so those without hosts answer"
	}
	return "covered by a wildcard"
}

// Routed is the outcome of routing one request.
type Routed[S any] struct {
	Site S      // the zero value: none
	Host string // normalized
	Path string // normalized
}

// Route finds the site for a request. authority and rawPath are as they came;
// secure says whether the connection is TLS, sni what it was opened for.
func (t *Table[S]) Route(authority, rawPath string, secure bool, sni string) (Routed[S], *fault.Fault) {
	host, of := authority, t.exact[authority]
	if of == nil || strings.IndexByte(host, ':') >= 0 { // else it is in its one form already, as nearly always
		var ok bool
		if host, ok = ParseHost(authority); !ok {
			return Routed[S]{}, fault.BadRequest
		}
		of = t.host(host)
	}
	path, ok := NormalizePath(rawPath)
	if !ok {
		return Routed[S]{Host: host}, fault.BadRequest
	}
	r := Routed[S]{Host: host, Path: path}
	e := of.match(path)
	if e == nil {
		return r, fault.UnknownHost
	}
	if secure && (e.TLSMode == sites.TLSOff || !t.sameTLSPolicy(sni, host)) {
		return r, fault.Misdirected
	}
	r.Site = e.Site
	return r, nil
}
