package proxy

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"portico/balancer"
	"portico/conf"
	"portico/membership/catalog"
	"portico/proxy/accesslog"
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

// wanted is a site as it should be served next.
type wanted struct {
	site    *site.Site
	specs   []balancer.Spec
	members []*catalog.Member       // by index of specs; nil for static upstreams
	states  []catalog.InstanceState // by index of specs; empty for static upstreams
	details []string                // of the states
	next    map[string]bool         // instances of a release that is being installed
	drains  map[string]bool         // static upstreams that the file drains, by id
	claims  []sticky.Claim          // what the balancer before may have called the instances
	checks  map[string]*site.Site   // settings to check an instance by, where they are not the site's
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
		for _, u := range st.State.Pool.Upstreams() {
			t.ByID[u.ID()] = site.Placed{Site: st, Upstream: u, Next: w.next[u.ID()]}
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

// wantedSites lists what the view and the file ask for.
func (s *Server) wantedSites(old *site.Table) map[string]*wanted {
	all := map[string]*wanted{}
	for _, c := range s.statics {
		st, err := site.CompileSettings(c.Name, c.Settings())
		if err != nil {
			s.log.Error("update static site", "site", c.Name, "error", err)
			continue
		}
		st.Idle = c.IdleTimeout.Std()
		w := &wanted{site: st, drains: map[string]bool{}}
		for _, u := range c.Upstreams {
			w.drains[site.UpstreamID(c.Name, u.Name)] = u.Drain
			w.specs = append(w.specs, balancer.Spec{
				ID: site.UpstreamID(c.Name, u.Name), Name: u.Name, Addr: u.Addr, Zone: u.Zone, Weight: u.Weight, Backup: u.Backup,
				MaxConns: cmp.Or(u.Connections, st.MaxConns), MaxSessions: st.MaxSessions, Static: true,
			})
			w.members, w.states, w.details = append(w.members, nil), append(w.states, ""), append(w.details, "")
		}
		w.claims = staticClaims(c)
		all[c.Name] = w
	}
	if s.view == nil {
		return all
	}
	for name, rec := range s.view.Sites {
		st := old.Sites[name]
		if st == nil || st.Source != rec {
			fresh, err := site.Compile(rec)
			if err != nil {
				s.log.Error("update site", "site", name, "error", err)
				if st == nil {
					continue
				}
			} else {
				st = fresh
			}
		}
		if all[name] != nil {
			s.log.Warn("a static site has the name of an installed one and is not served", "site", name)
		}
		all[name] = &wanted{site: st, next: map[string]bool{}, checks: map[string]*site.Site{}}
	}
	s.placeInstances(all)
	return all
}

// placeInstances gives each instance of an accepted member to its site, in the
// order of their ids, so that the same view makes the same pools everywhere.
func (s *Server) placeInstances(all map[string]*wanted) {
	ids := make([]string, 0, len(s.view.Instances))
	for id := range s.view.Instances {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		in := s.view.Instances[id]
		w, m := all[in.Site], s.view.Members[in.Member]
		if w == nil || w.site.Source == nil || m == nil || m.Admission != catalog.Accepted || m.Addr == "" {
			continue
		}
		rec := w.site.Source
		if in.Release == rec.Candidate && in.Release != rec.Release {
			w.next[id] = true
			if c := s.candidateChecks(rec, in.Release); c != nil {
				w.checks[id] = c
			}
		}
		w.specs = append(w.specs, balancer.Spec{
			ID: id, Name: accesslog.ServerName(in.Member, id), Member: in.Member, Addr: m.Addr, Port: in.Port, Release: in.Release, Zone: m.Zone,
			Weight: m.Weight, MaxConns: w.site.MaxConns, MaxSessions: w.site.MaxSessions,
			Retiring: in.Release != rec.Release, Unpinned: in.Unpinned,
			Started: s.since[id],
		})
		w.members, w.states, w.details = append(w.members, m), append(w.states, in.State), append(w.details, in.Detail)
		if len(w.site.AdoptCookies) > 0 && in.Release == rec.Release {
			w.claims = append(w.claims, memberClaims(m, id)...)
		}
	}
}

// candidateChecks compiles the settings of a release that is being installed: it
// may be healthy at another path than the one before it.
func (s *Server) candidateChecks(rec *catalog.Site, digest string) *site.Site {
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

// connectLocked makes the way to each upstream.
func (s *Server) connectLocked(w *wanted) {
	for i := range w.specs {
		key := ""
		if m := w.members[i]; m != nil {
			key = m.Fingerprint
		}
		s.origins.Lead(&w.specs[i], key, s.idleTime(w.site, w.specs[i].Member))
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
	st := w.site.State
	if prev := s.table.Load().Sites[w.site.Name]; prev != nil {
		st = prev.State
	}
	if st == nil {
		pool, err := s.bal.NewPool(w.site.Name, w.specs, c, now)
		if err != nil {
			return err
		}
		st = site.NewState(w.site.Name, pool, w.specs, c)
	} else if err := st.Update(w.specs, c, now); err != nil {
		return err
	}
	if w.site.State == nil {
		w.site.State = st
	}
	return nil
}

// keeps reports whether a site still has a use for a release.
func keeps(rec *catalog.Site, digest string) bool {
	return digest == rec.Release || digest == rec.Candidate ||
		slices.ContainsFunc(rec.Retiring, func(r catalog.Retiring) bool { return r.Release == digest })
}

// observeLocked tells the balancer what operators and agents say.
func (s *Server) observeLocked(w *wanted, now int64) {
	pool := s.bal.Pool(w.site.Name)
	for i, spec := range w.specs {
		u, m := pool.Upstream(spec.ID), w.members[i]
		if u == nil {
			continue
		}
		if m == nil {
			observeStatic(u, w.drains[spec.ID], now)
			continue
		}
		admin, why, end := balancer.AdminReady, "", balancer.CauseNone
		switch m.Admin {
		case catalog.AdminDrain:
			admin, why = balancer.AdminDrain, "member "+m.Name+" drains"
		case catalog.AdminMaint:
			admin, why, end = maint("member "+m.Name, m.Overdue)
		case catalog.AdminReady:
		}
		if in := s.view.Instances[spec.ID]; in != nil && admin != balancer.AdminMaint {
			switch in.Admin {
			case catalog.AdminDrain:
				admin, why = balancer.AdminDrain, "the instance drains"
				if in.Leaving {
					why += ": its site does not belong on the server any more"
				}
			case catalog.AdminMaint:
				admin, why, end = maint("the instance", in.Overdue)
			case catalog.AdminReady:
			}
		}
		if rec := w.site.Source; rec != nil && !keeps(rec, spec.Release) {
			// Its agent stops it as soon as nothing is under way here any more.
			admin, why = balancer.AdminMaint, "its release is over"
			if cause := s.cutBy(w.site.Name, spec.Release, now); cause != balancer.CauseNone {
				u.SetEnd(cause)
			}
		} else {
			u.SetEnd(end) // none, too, after a rollback has come for it
		}
		if u.Admin() != admin {
			u.SetAdmin(admin, why, now)
		}
		if before, ok := s.agents[spec.ID]; ok && before == w.states[i] {
			continue
		}
		e := balancer.Evidence{From: balancer.FromAgent, Detail: w.details[i]}
		switch w.states[i] {
		case catalog.InstanceHealthy:
			e.OK = true
		case catalog.InstanceExited:
			e.Exited = true
		case catalog.InstanceStarting:
			continue
		case catalog.InstanceFailing:
		}
		if u.Observe(e, now).CheckNow {
			s.probes.Now(spec.ID)
		}
	}
}

// observeStatic tells the balancer what the file says of an upstream.
func observeStatic(u *balancer.Upstream, drain bool, now int64) {
	admin, why := balancer.AdminReady, ""
	if drain {
		admin, why = balancer.AdminDrain, "the configuration file drains it"
	}
	if u.Admin() != admin {
		u.SetAdmin(admin, why, now)
	}
}

// maint is what maintenance of something means for its instances: without a cause of its
// own, that of an operator.
func maint(what string, overdue bool) (balancer.AdminState, string, balancer.Cause) {
	if overdue {
		return balancer.AdminMaint, "the deadline of the drain of " + what + " has passed", balancer.CauseDeadline
	}
	return balancer.AdminMaint, what + " is in maintenance", balancer.CauseNone
}

// cutBy returns why a site has no use for a release any more, which the table before
// told otherwise: the time for its sessions has passed, or somebody cut them short
// (drain --now, deploy --no-pin). CauseNone: it is no news.
func (s *Server) cutBy(site, digest string, now int64) balancer.Cause {
	prev := s.table.Load().Sites[site]
	if prev == nil || prev.Source == nil {
		return balancer.CauseDeadline // it was over before this proxy began
	}
	if !keeps(prev.Source, digest) {
		return balancer.CauseNone
	}
	for _, r := range prev.Source.Retiring {
		if r.Release == digest && r.Deadline.After(r.Since) && r.Deadline.UnixMilli() <= now {
			return balancer.CauseDeadline
		}
	}
	return balancer.CauseOperator
}

// probeLocked starts and stops checks so that each upstream of the table has one.
func (s *Server) probeLocked(t *site.Table, all map[string]*wanted) {
	s.agents = map[string]catalog.InstanceState{}
	keep := make(map[string]bool, len(t.ByID))
	for _, w := range all {
		for i, spec := range w.specs {
			p, ok := t.ByID[spec.ID]
			if !ok {
				continue
			}
			if w.members[i] != nil {
				s.agents[spec.ID] = w.states[i]
			}
			if w.states[i] == catalog.InstanceStarting || w.states[i] == catalog.InstanceExited {
				continue // nothing to check yet, or any more
			}
			way := s.origins.Get(spec.ID)
			if way == nil {
				continue
			}
			check := p.Site.Check
			if c := w.checks[spec.ID]; c != nil {
				check = c.Check
			}
			keep[spec.ID] = true
			s.probes.Set(spec.ID, probe.Target{Upstream: p.Upstream, Origin: way, Check: check, Member: spec.Member, Site: w.site.Name})
		}
	}
	s.probes.Only(keep)
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
