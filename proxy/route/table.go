package route

import (
	"cmp"
	"slices"
	"strings"

	"portico/conf/sites"
	"portico/internal/cow"
	"portico/proxy/fault"
)

// Table leads a host and a path to a site, of which it knows the rule alone. It is immutable; its zero value leads nowhere.
type Table[S any] struct {
	exact    cow.Map[entries[S]] // by normalized host
	wild     cow.Map[entries[S]] // by what follows "*."
	fallback entries[S]          // sites that name no host
	private  int                 // how many sites are
}

// Entry is a site and its rule.
type Entry[S any] struct {
	*Rule
	Name string // no two sites have the same
	Site S
}

// entries are the sites of one host, longest mount path first.
type entries[S any] []Entry[S]

// Edit returns a table that has the sites of this one without those that are gone, which say by which rule they were found, and with
// those that are there now. Where two sites claim the same host and path, the one whose name sorts first has it. It takes as long as the
// hosts of these sites do, however many there are in all.
func (t *Table[S]) Edit(gone, now []Entry[S]) *Table[S] {
	hosts := map[string]entries[S]{}
	private := t.private
	for _, e := range gone {
		private -= count(e.Private)
		for _, h := range e.claims() {
			hosts[h] = slices.DeleteFunc(t.claimed(hosts, h), func(o Entry[S]) bool { return o.Name == e.Name })
		}
	}
	for _, e := range now {
		private += count(e.Private)
		for _, h := range e.claims() {
			hosts[h] = append(t.claimed(hosts, h), e)
		}
	}
	exact, wild, fallback := t.exact.Edit(), t.wild.Edit(), t.fallback
	for h, list := range hosts {
		list.sort()
		switch suffix, isWild := strings.CutPrefix(h, "*."); {
		case h == "":
			fallback = list
		case isWild:
			put(wild, suffix, list)
		default:
			put(exact, h, list)
		}
	}
	return &Table[S]{exact: *exact.Map(), wild: *wild.Map(), fallback: fallback, private: private}
}

// claims are the hosts that a site names; "" stands for all that nobody names.
func (r *Rule) claims() []string {
	if len(r.Hosts) == 0 {
		return []string{""}
	}
	return r.Hosts
}

// claimed are the sites of a host by now: those of an edit that has begun, else a copy of the table's.
func (t *Table[S]) claimed(edited map[string]entries[S], host string) entries[S] {
	if list, ok := edited[host]; ok {
		return list
	}
	if host == "" {
		return slices.Clone(t.fallback)
	}
	of := &t.exact
	suffix, isWild := strings.CutPrefix(host, "*.")
	if isWild {
		host, of = suffix, &t.wild
	}
	list, _ := of.Get(host)
	return slices.Clone(list)
}

func put[S any](e *cow.Edit[entries[S]], host string, list entries[S]) {
	if len(list) == 0 {
		e.Delete(host)
	} else {
		e.Set(host, list)
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (s entries[S]) sort() {
	slices.SortFunc(s, func(a, b Entry[S]) int {
		return cmp.Or(cmp.Compare(len(b.Mount), len(a.Mount)), strings.Compare(a.Name, b.Name))
	})
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
	if s, ok := t.exact.Get(host); ok {
		return s
	}
	if t.wild.Len() > 0 {
		rest := host
		for {
			i := strings.IndexByte(rest, '.')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			if s, ok := t.wild.Get(rest); ok {
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
	if t.private == 0 {
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
	if _, ok := t.exact.Get(host); ok {
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
	host := authority
	of, _ := t.exact.Get(authority)
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
