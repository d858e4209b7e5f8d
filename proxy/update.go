package proxy

import (
	"reflect"
	"slices"
	"time"

	"portico/conf"
	"portico/membership/catalog"
	"portico/proxy/probe"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// Update makes the sites, instances and members of a view the ones that are
// served. It returns when the table is published; requests that run are not
// disturbed. A site whose settings do not compile keeps the ones it had, and the
// error is logged. Views must come in order; an older one is ignored.
func (s *Server) Update(view *catalog.View) {
	s.updates.Lock()
	defer s.updates.Unlock()
	last := s.view
	if last != nil && view.Revision < last.Revision {
		return
	}
	s.view = view
	s.noteSinceLocked(last == nil)
	if last != nil && sameMap(last.Sites, view.Sites) && sameMap(last.Members, view.Members) &&
		sameMap(last.Instances, view.Instances) && sameMap(last.Releases, view.Releases) {
		t := *s.table.Load()
		t.Revision = view.Revision
		s.table.Store(&t)
		return
	}
	s.rebuildLocked()
}

// noteSinceLocked remembers when instances appeared.
func (s *Server) noteSinceLocked(first bool) {
	seen := make(map[string]int64, len(s.view.Instances))
	for id := range s.view.Instances {
		at, ok := s.since[id]
		if !ok && !first {
			at = s.clock.Millis(time.Now())
		}
		seen[id] = at
	}
	s.since = seen
}

// sameMap reports whether a and b are one map: a view shares with the one before
// it what has not changed, such as everything when an account is added.
func sameMap[T any](a, b map[string]T) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// SetStatic replaces the sites of the configuration file. A site of the catalog
// with the same name wins.
func (s *Server) SetStatic(sites []conf.Site) {
	s.updates.Lock()
	defer s.updates.Unlock()
	s.statics = slices.Clone(sites)
	s.rebuildLocked()
}

// Static returns the sites of the configuration file.
func (s *Server) Static() []conf.Site {
	s.updates.Lock()
	defer s.updates.Unlock()
	return slices.Clone(s.statics)
}

// rebuildLocked compiles everything and publishes it in an order that never
// leaves a request without a way: connections exist before an upstream is picked,
// pools before the table names them, and what has left goes last.
func (s *Server) rebuildLocked() {
	now := s.clock.Millis(time.Now())
	old := s.table.Load()
	all := s.wantedSites(old)
	sites := make(map[string]*site.Site, len(all))
	revision := int64(0)
	if s.view != nil {
		revision = s.view.Revision
	}
	for name, w := range all {
		s.connectLocked(w)
		if err := s.poolLocked(w, now); err != nil {
			s.log.Error("update site", "site", name, "error", err)
			if prev := old.Sites[name]; prev != nil {
				w.site = prev
			} else {
				continue
			}
		}
		sites[name] = w.site
	}
	t := site.NewTable(revision, sites)
	for name, w := range all {
		st := sites[name]
		if st == nil {
			continue
		}
		next := w.next()
		for _, u := range st.State.Pool.Upstreams() {
			t.ByID[u.ID()] = site.Placed{Site: st, Upstream: u, Next: next[u.ID()]}
		}
		if st.Sticky {
			st.State.Adoption.Store(sticky.NewAdoption(st.AdoptCookies, w.claims, st.State.Pool))
		}
		s.observeLocked(w, now)
	}
	s.table.Store(t)
	s.probeLocked(t, all)
	s.retireLocked(old, t, now)
}

// connectLocked makes the way to each upstream.
func (s *Server) connectLocked(w *wanted) {
	for i := range w.placements {
		p := &w.placements[i]
		key := ""
		if p.member != nil {
			key = p.member.Fingerprint
		}
		s.origins.Lead(&p.spec, key, s.idleTime(w.site, p.spec.Member))
	}
}

// staticIdle is less than what application servers keep connections for by themselves: 5 seconds, the least of the common ones, is
// Node's. An agent is told by its server when one ends.
const staticIdle = 4 * time.Second

// idleTime is how long connections to an instance wait for their next request.
func (s *Server) idleTime(st *site.Site, member string) time.Duration {
	idle := s.o.Conf.Connections.IdleTimeout.Std()
	switch {
	case member != "":
		return idle
	case st.Idle > 0:
		return st.Idle
	case idle > 0:
		return min(idle, staticIdle)
	}
	return staticIdle
}

// poolLocked brings the site's pool up to date, or makes it.
func (s *Server) poolLocked(w *wanted, now int64) error {
	c := w.site.PoolConfig
	c.Zone = s.o.Conf.Zone
	specs := w.specs()
	st := w.site.State
	if prev := s.table.Load().Sites[w.site.Name]; prev != nil {
		st = prev.State
	}
	if st == nil {
		pool, err := s.bal.NewPool(w.site.Name, specs, c, now)
		if err != nil {
			return err
		}
		st = site.NewState(w.site.Name, pool, specs, c)
	} else if err := st.Update(specs, c, now); err != nil {
		return err
	}
	if w.site.State == nil {
		w.site.State = st
	}
	return nil
}

// probeLocked starts and stops checks so that each upstream of the table has one.
func (s *Server) probeLocked(t *site.Table, all map[string]*wanted) {
	s.agents = map[string]catalog.InstanceState{}
	keep := make(map[string]bool, len(t.ByID))
	for _, w := range all {
		for i := range w.placements {
			if t, ok := s.probed(t, w, &w.placements[i]); ok {
				keep[t.Upstream.ID()] = true
				s.probes.Set(t.Upstream.ID(), t)
			}
		}
	}
	s.probes.Only(keep)
}

// probed returns what is to be checked of a placement, if anything is. It notes what the agent says.
func (s *Server) probed(t *site.Table, w *wanted, p *placement) (probe.Target, bool) {
	placed, ok := t.ByID[p.spec.ID]
	if !ok {
		return probe.Target{}, false
	}
	if p.member != nil {
		s.agents[p.spec.ID] = p.state
	}
	if p.state == catalog.InstanceStarting || p.state == catalog.InstanceExited {
		return probe.Target{}, false // nothing to check yet, or any more
	}
	way := s.origins.Get(p.spec.ID)
	if way == nil {
		return probe.Target{}, false
	}
	check := placed.Site.Check
	if p.checks != nil {
		check = p.checks.Check
	}
	return probe.Target{Upstream: placed.Upstream, Origin: way, Check: check, Member: p.spec.Member, Site: w.site.Name}, true
}

// retireLocked lets go of what the new table does not name any more.
func (s *Server) retireLocked(old, t *site.Table, now int64) {
	for name, st := range old.Sites {
		if t.Sites[name] == nil {
			s.bal.RemovePool(name, now)
			st.Unregister()
		}
	}
	for id := range old.ByID {
		if _, ok := t.ByID[id]; ok {
			continue
		}
		s.origins.Retire(id)
	}
	if s.view != nil {
		s.origins.Judge(s.view.Members)
	}
}
