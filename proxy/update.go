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
// error is logged. Views must come in order; an older one is ignored. What has not changed since
// the view before is not looked at.
func (s *Server) Update(view *catalog.View) {
	s.updates.Lock()
	defer s.updates.Unlock()
	last := s.view
	switch {
	case last == nil:
		last = &catalog.View{}
	case view.Revision < last.Revision:
		return
	}
	first := s.view == nil
	s.view = view
	changed := changed{}
	changed.records(last, view)
	changed.members(last, view)
	s.noteInstancesLocked(last, first, changed)
	s.rebuildLocked(changed)
	if first || !catalog.SameMap(last.Members, view.Members) {
		s.origins.KillUntrusted(view.Members)
	}
}

// noteInstancesLocked goes through the instances that differ from those of the view before, and remembers
// when new ones appeared.
func (s *Server) noteInstancesLocked(last *catalog.View, first bool, changed changed) {
	now := s.clock.Millis(time.Now())
	for was, is := range catalog.Differences(last.Instances, s.view.Instances) {
		if was != nil {
			changed.add(was.Site)
		}
		if is != nil {
			changed.add(is.Site)
		}
		switch {
		case is == nil:
			delete(s.since, was.ID)
		case was == nil && !first:
			s.since[is.ID] = now
		}
	}
}

// SetStatic replaces the sites of the configuration file. A site of the catalog
// with the same name wins.
func (s *Server) SetStatic(list []conf.Site) {
	s.updates.Lock()
	defer s.updates.Unlock()
	changed := changed{}
	before := s.static
	s.statics, s.static = slices.Clone(list), make(map[string]*conf.Site, len(list))
	for i := range s.statics {
		c := &s.statics[i]
		s.static[c.Name] = c
		if was := before[c.Name]; was == nil || !reflect.DeepEqual(was, c) {
			changed.add(c.Name)
		}
	}
	for name := range before {
		if s.static[name] == nil {
			changed.add(name)
		}
	}
	s.rebuildLocked(changed)
}

// Static returns the sites of the configuration file.
func (s *Server) Static() []conf.Site {
	s.updates.Lock()
	defer s.updates.Unlock()
	return slices.Clone(s.statics)
}

// rebuildLocked compiles the sites that have changed and publishes them in an order that never
// leaves a request without an origin: connections exist before an upstream is picked,
// pools before the table names them, and what has left goes last.
func (s *Server) rebuildLocked(changed changed) {
	now := s.clock.Millis(time.Now())
	old := s.table.Load()
	revision := int64(0)
	if s.view != nil {
		revision = s.view.Revision
	}
	var all []*wanted
	var changes []site.Change
	for _, name := range changed.sorted() {
		w := s.want(name, old.Site(name))
		if c, ok := s.changeLocked(name, old.Site(name), w, now); ok {
			changes = append(changes, c)
			if w != nil {
				all = append(all, w)
			}
		}
	}
	t := old.Change(revision, changes)
	for _, w := range all {
		s.observeLocked(w, now)
	}
	s.table.Store(t)
	s.probeLocked(t, all)
	s.retireLocked(t, changes, now)
}

// changeLocked brings the origins, the pool and the adoption of a site up to date. It reports whether there is such a site, or was.
func (s *Server) changeLocked(name string, before *site.Site, w *wanted, now int64) (c site.Change, ok bool) {
	c = site.Change{Name: name, Before: before}
	var ids []string
	if before != nil {
		for _, u := range before.State.Pool.Upstreams() {
			ids = append(ids, u.ID())
		}
	}
	if w == nil {
		c.Gone = ids
		return c, before != nil
	}
	s.connectLocked(w)
	if err := s.poolLocked(w, before, now); err != nil {
		s.log.Error("update site", "site", name, "error", err)
		if before == nil {
			return c, false
		}
		w.site = before
	}
	c.After = w.site
	next, stay := w.next(), map[string]bool{}
	for _, u := range w.site.State.Pool.Upstreams() {
		stay[u.ID()] = true
		c.Placed = append(c.Placed, site.Placed{Site: w.site, Upstream: u, Next: next[u.ID()]})
	}
	c.Gone = slices.DeleteFunc(ids, func(id string) bool { return stay[id] })
	if w.site.Sticky {
		w.site.State.Adoption.Store(sticky.NewAdoption(w.site.AdoptCookies, w.formerNames, w.site.State.Pool))
	}
	return c, true
}

// connectLocked makes the origin of each upstream.
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
func (s *Server) poolLocked(w *wanted, before *site.Site, now int64) error {
	c := w.site.PoolConfig
	c.Zone = s.o.Conf.Zone
	specs := w.specs()
	if before != nil {
		if w.site != before {
			w.site.State = before.State
		}
		return before.State.Update(specs, c, now)
	}
	pool, err := s.bal.NewPool(w.site.Name, specs, c, now)
	if err != nil {
		return err
	}
	w.site.State = site.NewState(w.site.Name, pool, specs, c)
	return nil
}

// probeLocked starts and stops the checks of sites so that each of their upstreams has one that is to have one. None is stopped
// before all are started: what an agent tells ends with the last check of its instances.
func (s *Server) probeLocked(t *site.Table, all []*wanted) {
	var not []string
	for _, w := range all {
		for i := range w.placements {
			p := &w.placements[i]
			if target, ok := s.probed(t, w, p); ok {
				s.probes.Set(p.spec.ID, target)
			} else {
				not = append(not, p.spec.ID)
			}
		}
	}
	for _, id := range not {
		s.probes.Stop(id)
	}
}

// probed returns what is to be checked of a placement, if anything is. It notes what the agent says.
func (s *Server) probed(t *site.Table, w *wanted, p *placement) (probe.Target, bool) {
	placed, ok := t.Instance(p.spec.ID)
	if !ok {
		return probe.Target{}, false
	}
	if p.member != nil {
		s.agents[p.spec.ID] = p.state
	}
	if p.state == catalog.InstanceStarting || p.state == catalog.InstanceExited {
		return probe.Target{}, false // nothing to check yet, or any more
	}
	o := s.origins.Get(p.spec.ID)
	if o == nil {
		return probe.Target{}, false
	}
	check := placed.Site.Check
	if p.checks != nil {
		check = p.checks.Check
	}
	return probe.Target{Upstream: placed.Upstream, Origin: o, Check: check, Member: p.spec.Member, Site: w.site.Name}, true
}

// retireLocked lets go of what the new table does not name any more.
func (s *Server) retireLocked(t *site.Table, changes []site.Change, now int64) {
	for i := range changes {
		c := &changes[i]
		for _, id := range c.Gone {
			if _, elsewhere := t.Instance(id); !elsewhere {
				s.probes.Stop(id)
				s.origins.Retire(id)
				delete(s.agents, id)
			}
		}
		if c.After == nil {
			s.bal.RemovePool(c.Name, now)
			c.Before.Unregister()
		}
	}
}
