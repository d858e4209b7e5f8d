package balancer_test

import (
	"time"

	"portico/balancer"
)

// visit plays one visit, sometimes of several parallel requests.
func (s *sim) visit() {
	v := s.visitors[s.rng.IntN(len(s.visitors))]
	if s.rng.IntN(200) == 0 { // somebody new with another browser
		*v = simVisitor{id: s.rng.Uint64(), left: map[*simInstance]bool{}}
	}
	px := s.proxies[s.rng.IntN(len(s.proxies))]
	n := 1
	if s.rng.IntN(8) == 0 {
		n = 2 + s.rng.IntN(5)
	}
	sent := v.jar
	home := s.liveHome(px, v)
	var jars []string
	var at []*simInstance
	told := 0
	var trail, open []balancer.Choice
	for range n {
		c, in, tried := s.request(px, v, sent, home)
		if in == nil {
			s.noteNobody(px, home, sent, tried)
			continue
		}
		at, open = append(at, in), append(open, c)
		if c.Lost != balancer.CauseNone {
			told++
			trail = append(trail, c)
			s.checkLoss(px, v, home, in, &c)
		}
		if c.New {
			clear(v.left)
		}
		if told == 0 {
			s.checkStay(px, v, home, in, &c)
		}
		if c.Issue {
			jars = append(jars, string(px.p.AppendCookie(nil, &c)))
		}
		s.note(px, &c, in, sent)
	}
	for i, in := range at {
		px.p.Done(&open[i], balancer.Outcome{Now: s.now, Status: 200, Total: time.Millisecond, Reused: true})
		if in != at[0] {
			s.fail("law 4: parallel requests of one visitor went to %s and %s", at[0].spec.ID, in.spec.ID)
		}
	}
	if told > 1 {
		s.fail("law 2: the loss was told %d times: %+v", told, trail)
	}
	if len(at) > 0 && v.home != at[0] {
		if v.home != nil {
			v.left[v.home] = true
		}
		v.home = at[0]
	}
	if len(jars) > 0 {
		v.jar = jars[s.rng.IntN(len(jars))]
	}
	s.stats["visits"] += n
}

// liveHome returns where the visitor's session is if it lives by its cookie.
func (s *sim) liveHome(px *simProxy, v *simVisitor) *simInstance {
	if v.jar == "" {
		return nil
	}
	sealer, err := balancer.NewSealer("shop", px.keys)
	if err != nil {
		s.fail("sealer: %v", err)
	}
	k, refused := sealer.Open([]byte(v.jar))
	if refused == balancer.RefusedKey && k.Judge(s.now/1000, s.config.Idle, 0) == balancer.RefusedIdle {
		return nil
	}
	if refused != balancer.Honoured {
		s.fail("law 1: a cookie of ours is refused: %s", refused)
	}
	if sh := px.shadow[k.Session]; sh != nil && !sh.home.removed {
		k.Issued = max(k.Issued, sh.issued) // another tab has a newer cookie
	}
	if k.Judge(s.now/1000, s.config.Idle, s.config.Life) != balancer.Honoured {
		return nil
	}
	return v.home
}

// request plays one request up to its answer, with as many attempts as it takes;
// tried is how many were in vain.
func (s *sim) request(px *simProxy, v *simVisitor, cookie string, home *simInstance) (c balancer.Choice, in *simInstance, tried int) {
	r := balancer.Request{Now: s.now, Visitor: v.id}
	if cookie != "" {
		r.Cookie = []byte(cookie)
	}
	for {
		before := s.loads(px)
		c = px.p.Pick(&r)
		if c.Upstream == nil {
			s.checkNobody(px, home, &c)
			px.p.Done(&c, balancer.Outcome{Now: s.now, Result: balancer.Refused})
			s.stats["503"]++
			return c, nil, tried
		}
		in = s.byID(c.Upstream.ID())
		for _, x := range r.Exclude {
			if x == c.Upstream {
				s.fail("tried %s twice", in.spec.ID)
			}
		}
		s.checkPlacement(px, in, &c, before)
		if in.answers() {
			return c, in, tried
		}
		tried++
		px.p.Done(&c, balancer.Outcome{Now: s.now, Result: balancer.ConnectFailed, Detail: "refused"})
		if c.Upstream.InRotation() {
			s.fail("%s takes new visitors after a failed connection", in.spec.ID)
		}
		r.Exclude = append(r.Exclude, c.Upstream)
		s.stats["second attempts"]++
	}
}

func (s *sim) loads(px *simProxy) map[string]int {
	m := map[string]int{}
	for _, u := range px.p.Upstreams() {
		m[u.ID()] = u.Sessions()
	}
	return m
}

// note keeps the shadow of the table.
func (s *sim) note(px *simProxy, c *balancer.Choice, in *simInstance, sent string) {
	sh := px.shadow[c.Session]
	if sh == nil {
		sh = &shadowSession{start: c.Start}
		px.shadow[c.Session] = sh
	}
	sh.home = in
	sealer, err := balancer.NewSealer("shop", px.keys)
	if err != nil {
		s.fail("sealer: %v", err)
	}
	if c.Issue {
		sent = string(px.p.AppendCookie(nil, c))
	}
	k, refused := sealer.Open([]byte(sent))
	if refused != balancer.Honoured {
		s.fail("cookie refused: %s", refused)
	}
	if c.Issue && (k.Session != c.Session || k.Token != c.Upstream.Token()) {
		s.fail("the cookie says %+v, the choice was %+v", k, c)
	}
	sh.issued = max(sh.issued, k.Issued)
}

// noteNobody keeps the shadow of a visit that found nobody: the table has learned
// from its cookie all the same. A session whose instance is gone is nowhere once an
// attempt to place it anew was in vain.
func (s *sim) noteNobody(px *simProxy, home *simInstance, sent string, tried int) {
	if home == nil {
		return
	}
	sealer, err := balancer.NewSealer("shop", px.keys)
	if err != nil {
		s.fail("sealer: %v", err)
	}
	k, _ := sealer.Open([]byte(sent))
	sh := px.shadow[k.Session]
	if home.removed {
		if sh != nil && tried > 0 && k.Issued >= sh.issued {
			delete(px.shadow, k.Session)
		}
		return
	}
	if sh == nil {
		sh = &shadowSession{start: k.Start}
		px.shadow[k.Session] = sh
	}
	if k.Issued >= sh.issued {
		sh.home, sh.issued = home, k.Issued
	}
	if u := px.p.ByToken(k.Token); u != nil && u.Token() == k.Token {
		k.OldKey = false // the proxy knows of a newer key, which does not sign yet
	}
	if k.Stale(s.now/1000, s.config.Idle) {
		sh.issued = max(sh.issued, s.now/1000)
	}
}
