package proxy

import (
	"slices"

	"portico/balancer"
	"portico/membership/catalog"
	"portico/proxy/site"
)

// keeps reports whether a site still has a use for a release.
func keeps(rec *catalog.Site, digest string) bool {
	return digest == rec.Release || digest == rec.Candidate ||
		slices.ContainsFunc(rec.Retiring, func(r catalog.Retiring) bool { return r.Release == digest })
}

// observeLocked tells the balancer what operators and agents say.
func (s *Server) observeLocked(w *wanted, now int64) {
	pool := s.bal.Pool(w.site.Name)
	for i := range w.placements {
		p := &w.placements[i]
		switch u := pool.Upstream(p.spec.ID); {
		case u == nil:
		case p.member == nil:
			observeStatic(u, p.drain, now)
		default:
			s.administer(w.site, p, u, now)
			s.hear(p, u, now)
		}
	}
}

// administer brings the state that operators gave an instance up to date.
func (s *Server) administer(st *site.Site, p *placement, u *balancer.Upstream, now int64) {
	admin, why, end := asked(p.member, s.view.Instances[p.spec.ID])
	if rec := st.Source; rec != nil && !keeps(rec, p.spec.Release) {
		// Its agent stops it as soon as nothing is under way here any more.
		admin, why = balancer.AdminMaint, "its release is over"
		if cause := s.cutBy(st.Name, p.spec.Release, now); cause != balancer.CauseNone {
			u.SetEnd(cause)
		}
	} else {
		u.SetEnd(end) // none, too, after a rollback has come for it
	}
	if u.Admin() != admin {
		u.SetAdmin(admin, why, now)
	}
}

// asked is what operators want of an instance, by its member and by itself.
func asked(m *catalog.Member, in *catalog.Instance) (admin balancer.AdminState, why string, end balancer.Cause) {
	admin = balancer.AdminReady
	switch m.Admin {
	case catalog.AdminDrain:
		admin, why = balancer.AdminDrain, "member "+m.Name+" drains"
	case catalog.AdminMaint:
		return maint("member "+m.Name, m.Overdue)
	case catalog.AdminReady:
	}
	if in == nil {
		return admin, why, end
	}
	switch in.Admin {
	case catalog.AdminDrain:
		admin, why = balancer.AdminDrain, "the instance drains"
		if in.Leaving {
			why += ": its site does not belong on the server any more"
		}
	case catalog.AdminMaint:
		return maint("the instance", in.Overdue)
	case catalog.AdminReady:
	}
	return admin, why, end
}

// hear tells the balancer what an instance's agent says, when that is news.
func (s *Server) hear(p *placement, u *balancer.Upstream, now int64) {
	if before, ok := s.agents[p.spec.ID]; ok && before == p.state {
		return
	}
	e := balancer.Evidence{From: balancer.FromAgent, Detail: p.detail}
	switch p.state {
	case catalog.InstanceHealthy:
		e.OK = true
	case catalog.InstanceExited:
		e.Exited = true
	case catalog.InstanceStarting:
		return
	case catalog.InstanceFailing:
	}
	if u.Observe(e, now).CheckNow {
		s.probes.Now(p.spec.ID)
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
	prev := s.table.Load().Site(site)
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
