package balancer_test

import (
	"fmt"

	"portico/balancer"
)

// mayLose reports whether the visitor of an instance may be moved by a proxy, and
// for which causes.
func (s *sim) mayLose(px *simProxy, in *simInstance) map[balancer.Cause]bool {
	causes := map[balancer.Cause]bool{}
	u := px.p.Upstream(in.spec.ID)
	if !in.alive {
		causes[balancer.CauseExited], causes[balancer.CauseNetwork], causes[balancer.CauseMember] = true, true, true
	}
	if in.cut || in.everCut && (u == nil || u.State() == balancer.Down) {
		causes[balancer.CauseNetwork], causes[balancer.CauseMember] = true, true
	}
	if in.admin == balancer.AdminMaint {
		causes[balancer.CauseOperator] = true
	}
	if in.removed {
		if in.end != balancer.CauseNone {
			causes[in.end] = true
		}
		causes[balancer.CauseOperator] = causes[balancer.CauseOperator] || in.admin == balancer.AdminMaint
		causes[balancer.CauseDeadline] = causes[balancer.CauseDeadline] || in.retiring
		causes[balancer.CauseExited] = true
	}
	return causes
}

func (s *sim) checkLoss(px *simProxy, v *simVisitor, home, in *simInstance, c *balancer.Choice) {
	if home == nil && v.home != nil && v.home.removed {
		return // the table may remember what the cookie alone does not say
	}
	if home == nil {
		s.fail("law 2: a visitor without a session was told %q: %+v, shadow %+v", c.Lost, c, px.shadow[c.Session])
	}
	if home == in {
		s.fail("law 2: told %q and stayed on %s", c.Lost, in.spec.ID)
	}
	if !s.mayLose(px, home)[c.Lost] {
		s.fail("laws 1, 2: cause %q is not true of %+v", c.Lost, *home)
	}
	s.stats["lost "+c.Lost.String()]++
}

func (s *sim) checkStay(px *simProxy, v *simVisitor, home, in *simInstance, c *balancer.Choice) {
	if home == nil || home == in {
		return
	}
	if c.Lost == balancer.CauseNone && v.home == home && !c.Pinned {
		s.fail("law 2: moved from %s to %s without being told: %+v", home.spec.ID, in.spec.ID, c)
	}
	if v.left[in] && c.Lost == balancer.CauseNone {
		s.fail("law 3: back on %s without being told", in.spec.ID)
	}
}

func (s *sim) checkNobody(px *simProxy, home *simInstance, c *balancer.Choice) {
	for _, u := range px.p.Upstreams() {
		if in := s.byID(u.ID()); in.answers() && u.InRotation() && in.admin == balancer.AdminReady {
			s.fail("law 6: %s, while %s could answer", c.None, in.spec.ID)
		}
	}
	if home != nil && len(s.mayLose(px, home)) == 0 {
		s.fail("law 1: %s for a visitor of %s", c.None, home.spec.ID)
	}
}

func (s *sim) checkPlacement(px *simProxy, in *simInstance, c *balancer.Choice, before map[string]int) {
	if !c.New && c.Lost == balancer.CauseNone {
		return
	}
	if in.retiring || in.admin != balancer.AdminReady {
		s.fail("law 5: %+v got a new visitor", *in)
	}
	ready := 0
	for _, u := range px.p.Upstreams() {
		if u.InRotation() {
			ready++
		}
	}
	if ready > 0 && c.FailOpen {
		s.fail("law 5: %s got a visitor by fail open while %d were up", in.spec.ID, ready)
	}
	if !c.New || c.FailOpen || s.config.Policy != balancer.LeastSessions {
		return
	}
	mine := (before[in.spec.ID] + 1) * 1000 / in.spec.Weight
	for _, u := range px.p.Upstreams() {
		if u.InRotation() && (before[u.ID()]+1)*1000/u.Spec().Weight < mine && u != c.Upstream {
			s.fail("law 8: %s has %d sessions, %s only %d", in.spec.ID, before[in.spec.ID], u.ID(), before[u.ID()])
		}
	}
}

// count compares the tables with their shadows.
func (s *sim) count() {
	for _, px := range s.proxies {
		px.b.Sessions().SweepAll(s.now)
		want := map[string]int{}
		for id, sh := range px.shadow {
			k := balancer.Cookie{Issued: sh.issued, Start: sh.start}
			if sh.home.removed || k.Judge(s.now/1000, s.config.Idle, s.config.Life) != balancer.Honoured {
				delete(px.shadow, id)
				continue
			}
			want[sh.home.spec.ID]++
		}
		for _, u := range px.p.Upstreams() {
			got := u.Sessions()
			if slack := s.slack(px, u); got < want[u.ID()] || got > want[u.ID()]+slack {
				s.fail("law 7: the table counts %d sessions on %s, there are %d (slack %d): %s", got, u.ID(), want[u.ID()], slack, s.difference(px, u))
			}
		}
	}
}

// difference names the sessions that only one side has.
func (s *sim) difference(px *simProxy, u *balancer.Upstream) (text string) {
	list, _ := px.b.Sessions().List(px.p, 1<<20, nil)
	in := map[uint64]bool{}
	for _, x := range list {
		if x.Upstream != u {
			continue
		}
		in[x.ID] = true
		if sh := px.shadow[x.ID]; sh == nil || sh.home.spec.ID != u.ID() {
			text += fmt.Sprintf(" only in the table %+v, shadow %+v", x, sh)
		}
	}
	for id, sh := range px.shadow {
		if sh.home.spec.ID == u.ID() && !in[id] {
			info, ok := px.b.Sessions().Find(id)
			text += fmt.Sprintf(" only in the shadow %d: %+v, table %+v %v", id, sh, info, ok)
		}
	}
	return text
}

// slack is how many sessions a table may have that the shadow lacks: those whose
// requests found nobody were touched without being answered.
func (s *sim) slack(px *simProxy, u *balancer.Upstream) int { return 0 }
