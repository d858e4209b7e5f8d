package proxy

import (
	"bytes"
	"cmp"
	"slices"

	"portico/balancer"
	"portico/conf"
	"portico/membership/catalog"
	"portico/proxy/exchange/account"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// wanted is a site as it should be served next.
type wanted struct {
	site        *site.Site
	placements  []placement
	formerNames []sticky.FormerName // what the balancer before may have called the instances

	others map[string]*site.Site // as the site is for releases that are not its present one, by id; nil: not known
}

// placement is an instance at its site, with what the view or the file says of it.
type placement struct {
	spec   balancer.Spec
	next   bool       // of a release that is being installed
	checks *site.Site // settings to check it by; nil: its site's

	member *catalog.Member // that runs it; nil: it is an upstream of the configuration file
	state  catalog.InstanceState
	detail string // of the state

	drain bool // the configuration file drains it
}

func (w *wanted) specs() []balancer.Spec {
	specs := make([]balancer.Spec, len(w.placements))
	for i := range w.placements {
		specs[i] = w.placements[i].spec
	}
	return specs
}

// next are the instances of a release that is being installed.
func (w *wanted) next() map[string]bool {
	next := map[string]bool{}
	for i := range w.placements {
		if p := &w.placements[i]; p.next {
			next[p.spec.ID] = true
		}
	}
	return next
}

// want returns what the view and the file ask of a site, nil: nothing. before is as it is served, nil: it is not.
func (s *Server) want(name string, before *site.Site) *wanted {
	var w *wanted
	if c := s.static[name]; c != nil {
		var err error
		if w, err = staticSite(c); err != nil {
			s.log.Error("update static site", "site", name, "error", err)
		}
	}
	if s.view == nil || s.view.Sites[name] == nil {
		return w
	}
	st := s.installed(s.view.Sites[name], before)
	if st == nil {
		return w
	}
	if w != nil {
		s.log.Warn("a static site has the name of an installed one and is not served", "site", name)
	}
	w = &wanted{site: st}
	s.placeInstances(w)
	return w
}

// staticSite is a site of the configuration file.
func staticSite(c *conf.Site) (*wanted, error) {
	st, err := site.CompileSettings(c.Name, c.Settings())
	if err != nil {
		return nil, err
	}
	st.Idle = c.IdleTimeout.Std()
	w := &wanted{site: st, formerNames: staticFormerNames(c)}
	for _, u := range c.Upstreams {
		w.placements = append(w.placements, placement{drain: u.Drain, spec: balancer.Spec{
			ID: site.UpstreamID(c.Name, u.Name), Name: u.Name, Addr: u.Addr, Zone: u.Zone, Weight: u.Weight, Backup: u.Backup,
			MaxConns: cmp.Or(u.Connections, st.MaxConns), MaxSessions: st.MaxSessions, Static: true, HTTP2: st.HTTP2,
		}})
	}
	return w, nil
}

// installed compiles a site of the catalog, or keeps what it was before, which is nil for a new one.
func (s *Server) installed(rec *catalog.Site, before *site.Site) *site.Site {
	if before != nil && before.Source == nil {
		before = nil // of the configuration file
	}
	if before != nil && before.Source == rec {
		return before
	}
	st, err := site.Compile(rec)
	if err != nil {
		s.log.Error("update site", "site", rec.Name, "error", err)
		return before
	}
	return st
}

// placeInstances gives each instance of an accepted member to its site.
func (s *Server) placeInstances(w *wanted) {
	rec := w.site.Source
	for _, in := range s.view.InstancesOf(w.site.Name) {
		m := s.view.Members[in.Member]
		if m == nil || m.Admission != catalog.Accepted || m.Addr == "" {
			continue
		}
		st := w.site
		if in.Release != rec.Release && (in.Release == rec.Candidate || s.differs(rec, in.Release)) {
			if of := s.siteOf(w, in.Release); of != nil {
				st = of
			}
		}
		p := placement{member: m, state: in.State, detail: in.Detail, spec: balancer.Spec{
			ID: in.ID, Name: account.ServerName(in.Member, in.ID), Member: in.Member, Addr: m.Addr, Port: in.Port, Release: in.Release, Zone: m.Zone,
			Weight: m.Weight, MaxConns: w.site.MaxConns, MaxSessions: w.site.MaxSessions,
			Retiring: in.Release != rec.Release, Unpinned: in.Unpinned,
			Started: s.since[in.ID], HTTP2: st.HTTP2,
		}}
		p.next = in.Release == rec.Candidate && in.Release != rec.Release
		if st != w.site {
			p.checks = st
		}
		w.placements = append(w.placements, p)
		if len(w.site.AdoptCookies) > 0 && in.Release == rec.Release {
			w.formerNames = append(w.formerNames, memberFormerNames(m, in.ID)...)
		}
	}
}

// siteOf is the site as it is for instances of a release that is being installed, or is retiring: either may be healthy at another path
// than the present release, and may speak another protocol.
func (s *Server) siteOf(w *wanted, digest string) *site.Site {
	if w.others == nil {
		w.others = map[string]*site.Site{}
	}
	st, known := w.others[digest]
	if !known {
		st = s.compileFor(w.site.Source, digest)
		w.others[digest] = st
	}
	return st
}

// differs reports whether a former release may speak another protocol than the present one, or be healthy otherwise. Nearly none does,
// and there may be thousands to look at. What operators have set of the checks counts for all releases alike.
func (s *Server) differs(rec *catalog.Site, digest string) bool {
	r := s.view.Releases[rec.Name][digest]
	if r == nil {
		return false
	}
	was, is := &r.Manifest, &rec.Manifest
	word := []byte(`"protocol"`)
	return was.Protocol != is.Protocol || was.Health != is.Health || was.Path != is.Path || !slices.Equal(was.Hosts, is.Hosts) ||
		bytes.Contains(bytes.ToLower(r.Override), word) || bytes.Contains(bytes.ToLower(rec.Override), word)
}

// compileFor compiles the settings with which a site runs a release; nil: they are not known.
func (s *Server) compileFor(rec *catalog.Site, digest string) *site.Site {
	r := s.view.Releases[rec.Name][digest]
	if r == nil {
		return nil
	}
	set, err := rec.EffectiveFor(r)
	if err != nil {
		return nil
	}
	st, err := site.CompileSettings(rec.Name, set)
	if err != nil {
		return nil
	}
	return st
}
