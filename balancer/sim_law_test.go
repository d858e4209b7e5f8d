package balancer_test

import (
	"fmt"

	"portico/balancer"
	"portico/conf/sites"
)

// mayLose returns the causes for which a proxy may move the visitor of an instance, by
// what it can know.
func (s *sim) mayLose(px *simProxy, in *simInstance) map[balancer.Cause]bool {
	causes := map[balancer.Cause]bool{}
	st, known := px.seen[in]
	if !known {
		causes[balancer.CauseUnknown] = true
		return causes
	}
	u := px.p.Upstream(in.spec.ID)
	if !in.alive {
		causes[balancer.CauseExited], causes[balancer.CauseNetwork], causes[balancer.CauseMember] = true, true, true
	}
	if in.cut || px.blocked[in] || (in.everCut || px.doubted[in]) && (u == nil || u.State() == balancer.Down) {
		causes[balancer.CauseNetwork], causes[balancer.CauseMember] = true, true
	}
	if st.admin == balancer.AdminMaint {
		causes[balancer.CauseOperator] = true
	}
	if st.removed {
		if st.end != balancer.CauseNone {
			causes[st.end] = true
		}
		causes[balancer.CauseDeadline] = causes[balancer.CauseDeadline] || st.retiring
		causes[balancer.CauseExited] = true
	}
	return causes
}

func (s *sim) checkLoss(px *simProxy, v *simVisitor, home, in *simInstance, bore string, c *balancer.Choice) {
	if home == nil {
		s.checkRemembered(px, v, bore, c)
		return
	}
	from := home
	if v.split || s.near(px.shadow[c.Session], v.moved) { // the table may have seen him later, elsewhere
		for x := range px.seen {
			if x.spec.Name == c.LostFrom {
				from = x
			}
		}
	}
	if from == in {
		s.fail("law 2: told %q and stayed on %s: %+v", c.Lost, in.spec.ID, c)
	}
	if !s.mayLose(px, from)[c.Lost] {
		s.fail("laws 1, 2: cause %q is not true of %s, which the proxy saw as %+v: %+v", c.Lost, from.spec.ID, px.seen[from], c)
	}
	s.stats["lost "+c.Lost.String()]++
}

// checkRemembered looks at a loss that was told to a visitor who has no session by his cookie, or no
// cookie. The table may remember one: a younger cookie of it is out, or the application's token names it. It
// remembers sessions of instances that are gone until it is swept, so they may be told or not.
func (s *sim) checkRemembered(px *simProxy, v *simVisitor, bore string, c *balancer.Choice) {
	sh, t := px.shadow[c.Session], px.tokens[bare(bore)]
	switch {
	case t != nil:
	case v.home != nil && px.seen[v.home].removed && s.mayLose(px, v.home)[c.Lost]:
	case sh != nil && px.seen[sh.home].removed && s.mayLose(px, sh.home)[c.Lost]:
	default:
		s.fail("law 2: a visitor without a session was told %q: %+v, shadow %+v", c.Lost, c, sh)
	}
	s.stats["lost "+c.Lost.String()]++
}

func (s *sim) checkStay(px *simProxy, v *simVisitor, home, in *simInstance, c *balancer.Choice) {
	if home != in && c.Lost == balancer.CauseNone && !c.Pinned {
		s.fail("law 2: moved from %s to %s without being told: %+v", home.spec.ID, in.spec.ID, c)
	}
	if v.left[in] && v.home != in && !v.split && c.Lost == balancer.CauseNone && !s.near(px.shadow[c.Session], v.moved) {
		s.fail("law 3: back on %s without being told: %+v, shadow %+v", in.spec.ID, c, px.shadow[c.Session])
	}
}

// near reports whether a proxy saw a session so shortly before a moment that the clocks
// of two proxies do not tell which was first.
func (s *sim) near(sh *simShadow, moment int64) bool {
	return sh != nil && moment-sh.touched <= s.skew()+1000
}

// checkToken looks at a visitor who came with nothing but the application's token.
func (s *sim) checkToken(px *simProxy, v *simVisitor, known, in *simInstance, bore string, c *balancer.Choice) {
	s.stats["by token"]++
	if t := px.tokens[bare(bore)]; t.who == v && t.n == v.moves && known != v.home {
		s.fail("law 17: the proxy saw the visitor on %s, with his token, and should know %s", v.home.spec.ID, known.spec.ID)
	}
	if known != in {
		s.fail("law 17: the token was seen on %s, and leads to %s: %+v", known.spec.ID, in.spec.ID, c)
	}
}

func (s *sim) checkNobody(px *simProxy, home *simInstance, c *balancer.Choice) {
	for _, u := range px.p.Upstreams() {
		if in := s.byID(u.ID()); px.reaches(in) && u.InRotation() && px.seen[in].admin == balancer.AdminReady {
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
	if st := px.seen[in]; st.retiring || st.admin != balancer.AdminReady {
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
	s.checkTier(px, in, c)
	if !c.New || c.FailOpen || s.config.Policy != sites.PolicyLeastSessions {
		return
	}
	_, most := s.weights(px, c.Upstream)
	for _, u := range px.p.Upstreams() {
		if !u.InRotation() || u == c.Upstream || s.tier(px, u) != s.tier(px, c.Upstream) {
			continue
		}
		if least, _ := s.weights(px, u); (before[u.ID()]+1)*most < (before[in.spec.ID]+1)*least {
			s.fail("law 8: %s has %d sessions, %s only %d", in.spec.ID, before[in.spec.ID], u.ID(), before[u.ID()])
		}
	}
}

// checkTier holds law 18.
func (s *sim) checkTier(px *simProxy, in *simInstance, c *balancer.Choice) {
	for _, u := range px.p.Upstreams() {
		if u.InRotation() && s.tier(px, u) < s.tier(px, c.Upstream) {
			s.fail("law 18: %s got a visitor of zone %q, while %s is up: %+v", in.spec.ID, px.config.Zone, u.ID(), c)
		}
	}
}

// tier is how far an upstream is from a proxy's new visitors.
func (s *sim) tier(px *simProxy, u *balancer.Upstream) (tier int) {
	if u.Spec().Backup {
		tier = 2
	}
	if px.config.Zone != "" && u.Spec().Zone != px.config.Zone {
		tier++
	}
	return tier
}

// weights returns the least and the most that an upstream's weight may be: one that has just come up has a tenth
// of it, which grows with each tick.
func (s *sim) weights(px *simProxy, u *balancer.Upstream) (least, most int) {
	at := func(now int64) int {
		full, ramp := u.Spec().Weight*100, s.config.SlowStart.Milliseconds()
		passed := max(now-u.Health().Since, 0)
		if passed >= ramp {
			return full
		}
		return full/10 + full*9/10*int(passed)/int(ramp)
	}
	return at(s.at(px) - 1000), at(s.at(px)) + 1
}

// count compares the tables with their shadows, and all of them with what is true.
func (s *sim) count() {
	for _, px := range s.proxies {
		s.sweep(px)
		want := map[string]int{}
		for _, sh := range px.shadow {
			want[sh.home.spec.ID]++
		}
		for _, u := range px.p.Upstreams() {
			if got := u.Sessions(); got != want[u.ID()] {
				s.fail("law 7: the table counts %d sessions on %s, there are %d: %s", got, u.ID(), want[u.ID()], s.difference(px, u))
			}
		}
	}
	s.countAll()
}

// sweep ends what is over by a proxy's clock, in the table and in its shadow.
func (s *sim) sweep(px *simProxy) {
	px.b.Sessions().SweepAll(s.at(px))
	for id, sh := range px.shadow {
		if st, known := px.seen[sh.home]; !known || st.removed || s.over(px, sh) {
			delete(px.shadow, id)
		}
	}
}

// countAll compares what all proxies count together with who is there.
func (s *sim) countAll() {
	there := map[*simInstance]int{}
	for _, v := range s.visitors {
		if v.jar == "" {
			continue
		}
		for _, px := range s.proxies {
			if s.liveHome(px, v) == nil {
				v = nil // one of the clocks has ended it
				break
			}
		}
		if v != nil {
			there[v.home]++
		}
	}
	for in, least := range there {
		sum := 0
		for _, px := range s.proxies {
			n, _, known := px.p.Load(in.spec.ID, s.at(px))
			if !known || px.p.Upstream(in.spec.ID) == nil {
				sum = least
				break
			}
			sum += n
		}
		if sum < least {
			s.fail("law 16: %d visitors are on %s, all proxies count %d", least, in.spec.ID, sum)
		}
	}
}

// difference names the sessions that only one side has.
func (s *sim) difference(px *simProxy, u *balancer.Upstream) (text string) {
	list, _ := px.b.Sessions().List(px.p.Name(), 1<<20, nil)
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

// checkPreview holds that a preview and the pick behind it agree. Policies that take turns or draw lots
// leave the upstream open, and so does a guess for a new visitor.
func (s *sim) checkPreview(r *balancer.Request, l *balancer.Preview, c *balancer.Choice) {
	switch {
	case l.Guess != c.FailOpen:
		s.fail("a preview guesses: %v, a pick: %v", l.Guess, c.FailOpen)
	case l.Upstream != nil && l.Upstream != c.Upstream, c.Pinned && l.Upstream != c.Upstream:
		s.fail("a preview leads to %v, a pick to %v: %+v, %+v", l.Upstream, c.Upstream, l, c)
	case l.None != c.None:
		s.fail("a preview finds %q, a pick %q", l.None, c.None)
	case c.Upstream != nil && !l.Free && l.Cause != c.Lost:
		s.fail("a preview tells of the loss %q, a pick of %q", l.Cause, c.Lost)
	case l.Refused != c.Refused:
		s.fail("a preview refuses the cookie as %q, a pick as %q", l.Refused, c.Refused)
	}
}
