package balancer_test

import (
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/tests/support/seals"
)

// visit plays one visit, sometimes of several parallel requests, which go through
// several proxies where these have views of their own.
func (s *sim) visit() {
	v := s.visitors[s.rng.IntN(len(s.visitors))]
	if s.rng.IntN(200) == 0 { // somebody new with another browser
		*v = simVisitor{id: s.rng.Uint64(), left: map[*simInstance]bool{}}
	}
	more := 0
	if s.clocks && s.rng.IntN(10) == 0 {
		more = s.rng.IntN(10) // somebody in a hurry: several visits, and maybe moves, in a second
	}
	for range more {
		s.visitOf(v)
		s.now += int64(s.rng.IntN(200))
		s.deliver()
	}
	s.visitOf(v)
}

func (s *sim) visitOf(v *simVisitor) {
	if s.app != nil && s.rng.IntN(20) == 0 {
		v.jar = "" // the sticky cookie is lost
		s.stats["cookie lost"]++
	}
	through := []*simProxy{s.proxies[s.rng.IntN(len(s.proxies))]}
	n := 1
	if s.rng.IntN(8) == 0 {
		n = 2 + s.rng.IntN(5)
		if other := s.proxies[s.rng.IntN(len(s.proxies))]; s.apart && other != through[0] {
			through = append(through, other)
		}
	}
	sent, bore := v.jar, s.bears(v)
	var got []simAnswer
	for _, px := range through {
		got = append(got, s.visitThrough(px, v, n, sent, bore)...)
		s.stats["visits"] += n
	}
	if len(got) == 0 {
		return
	}
	last := got[s.rng.IntN(len(got))] // of what came the browser keeps one answer's cookies
	for _, a := range got {
		if a.in != last.in {
			v.split = true
			v.moves++
		}
	}
	s.keep(v, last)
}

// simAnswer is what a visitor gets.
type simAnswer struct {
	px    *simProxy
	in    *simInstance
	jar   string // "": no cookie was issued
	token string
	fresh bool // a new session
}

// keep lets the visitor go on with one of the answers.
func (s *sim) keep(v *simVisitor, a simAnswer) {
	if a.fresh {
		clear(v.left)
		v.split = false
	}
	if v.home != a.in {
		if v.home != nil && !a.fresh {
			v.left[v.home] = true
		}
		v.home = a.in
		v.moves++
		v.moved = s.now
	}
	if a.jar != "" {
		v.jar = a.jar
	}
	if a.token != "" {
		v.token = a.token
	}
	for _, t := range a.px.tokens {
		if t.who == v && t.at == a.in {
			t.n = v.moves
		}
	}
}

// visitThrough plays parallel requests through one proxy.
func (s *sim) visitThrough(px *simProxy, v *simVisitor, n int, sent, bore string) (got []simAnswer) {
	home := s.liveHome(px, v)
	known := home
	if home == nil && bore != "" {
		known = s.byToken(px, bore)
	}
	told := 0
	var at []*simInstance
	var open []balancer.Choice
	for range n {
		c, in, vain := s.request(px, v, sent, bore, known)
		if in == nil {
			at := known
			if at == nil && px.tokens[bare(bore)] != nil {
				at = s.listed(px, c.Session) // an old token that is not forgotten, or one that several instances know
			}
			s.noteNobody(px, at, &c, sent, vain)
			continue
		}
		at, open = append(at, in), append(open, c)
		if c.Lost != balancer.CauseNone {
			told++
			s.checkLoss(px, v, known, in, bore, &c)
		}
		if told == 0 && home != nil {
			s.checkStay(px, v, home, in, &c)
		} else if told == 0 && known != nil {
			s.checkToken(px, v, known, in, bore, &c)
		}
		if in != at[0] {
			s.fail("law 4: parallel requests of one visitor went to %s and %s: %+v", at[0].spec.ID, in.spec.ID, open)
		}
		s.note(px, &c, in, sent)
	}
	if told > 1 {
		s.fail("law 2: the loss was told %d times: %+v", told, open)
	}
	for i := range open {
		c, in := &open[i], at[i]
		a := simAnswer{px: px, in: in, fresh: c.New}
		if s.app != nil {
			a.token = s.answer(px, v, c, in, bore)
		}
		if c.Issue {
			a.jar = string(px.p.AppendCookie(nil, c))
		}
		if a.jar != "" || a.token != "" || s.app == nil || sent != "" {
			got = append(got, a)
		}
		px.p.Done(c, balancer.Outcome{Now: s.at(px), Status: 200, Total: time.Millisecond, Reused: true})
	}
	return got
}

// listed returns where a proxy's table has a session, or nil.
func (s *sim) listed(px *simProxy, session uint64) *simInstance {
	if in, ok := px.b.Sessions().Find(session); ok && in.Upstream != nil {
		return s.byID(in.Upstream.ID())
	}
	return nil
}

// liveHome returns where a proxy should believe the visitor's session to be, if it lives by
// its cookie.
func (s *sim) liveHome(px *simProxy, v *simVisitor) *simInstance {
	if v.jar == "" {
		return nil
	}
	k, refused := s.open(px, v.jar)
	second := s.at(px) / 1000
	if refused == seal.RefusedKey && k.Judge(second, s.config.Idle, 0) == seal.RefusedIdle {
		return nil
	}
	if refused != seal.Honoured {
		s.fail("law 1: a cookie of ours is refused: %s", refused)
	}
	home := v.home
	if sh := px.shadow[k.Session]; sh != nil && !px.seen[sh.home].removed {
		if k.Issued < sh.issued {
			home = sh.home
		}
		k.Issued = max(k.Issued, sh.issued) // another tab has a newer cookie
	}
	if k.Judge(second, s.config.Idle, s.config.Life) != seal.Honoured {
		return nil
	}
	return home
}

// open opens a cookie as a proxy would.
func (s *sim) open(px *simProxy, cookie string) (seal.Cookie, seal.Refusal) {
	sealer, err := seal.NewSealer("shop", px.valid)
	if err != nil {
		s.fail("sealer: %v", err)
	}
	return seals.Open(sealer, []byte(cookie))
}

// simVain is attempts in vain.
type simVain struct {
	tried    int
	promised int64 // issue of a cookie that one of them would have brought from where the session is
}

// request plays one request up to its answer, with as many attempts as it takes.
func (s *sim) request(px *simProxy, v *simVisitor, cookie, bore string, home *simInstance) (c balancer.Choice, in *simInstance, vain simVain) {
	r := balancer.Request{Now: s.at(px), Visitor: v.id}
	if cookie != "" {
		r.Cookie = []byte(cookie)
	}
	if s.app != nil {
		r.App = s.hash(px, bore)
	}
	for {
		before := s.loads(px)
		foretold := px.p.Preview(&r)
		c = px.p.Picked(&r)
		s.checkPreview(&r, &foretold, &c)
		if c.Upstream == nil {
			s.checkNobody(px, home, &c)
			px.p.Done(&c, balancer.Outcome{Now: s.at(px), Result: balancer.Refused})
			s.stats["503"]++
			return c, nil, vain
		}
		in = s.byID(c.Upstream.ID())
		for _, x := range r.Exclude {
			if x == c.Upstream {
				s.fail("tried %s twice", in.spec.ID)
			}
		}
		s.checkPlacement(px, in, &c, before)
		if px.reaches(in) {
			return c, in, vain
		}
		vain.tried++
		if c.Pinned && c.Issue {
			k, _ := s.open(px, string(px.p.AppendCookie(nil, &c)))
			vain.promised = max(vain.promised, k.Issued)
		}
		px.p.Done(&c, balancer.Outcome{Now: s.at(px), Result: balancer.ConnectFailed, Detail: "refused"})
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
		sh = &simShadow{start: c.Start}
		px.shadow[c.Session] = sh
	}
	if px.seen[sh.home].removed && c.Pinned && c.Lost == balancer.CauseNone {
		sh.issued = 0 // swept away with its instance, and entered anew as the cookie says
	}
	sh.home, sh.touched = in, s.now
	if c.Issue {
		sent = string(px.p.AppendCookie(nil, c))
	}
	k, refused := s.open(px, sent)
	if refused != seal.Honoured {
		s.fail("cookie refused: %s", refused)
	}
	if c.Issue && (k.Session != c.Session || k.Token != c.Upstream.Token()) {
		s.fail("the cookie says %+v, the choice was %+v", k, c)
	}
	sh.issued = max(sh.issued, k.Issued)
}

// over reports whether a session has ended by its age.
func (s *sim) over(px *simProxy, sh *simShadow) bool {
	k := seal.Cookie{Issued: sh.issued, Start: sh.start}
	return k.Judge(s.at(px)/1000, s.config.Idle, s.config.Life) != seal.Honoured
}

// noteNobody keeps the shadow of a visit that found nobody: the table has learned
// from its cookie all the same. A session whose instance is gone is nowhere once an
// attempt to place it anew was in vain.
func (s *sim) noteNobody(px *simProxy, home *simInstance, c *balancer.Choice, sent string, vain simVain) {
	if home == nil || c.Session == 0 {
		return
	}
	second := s.at(px) / 1000
	k, refused := s.open(px, sent)
	if refused != seal.Honoured || k.Session != c.Session {
		k = seal.Cookie{Session: c.Session, Start: c.Start, Issued: second} // by the token
		if sh := px.shadow[c.Session]; sh != nil && s.over(px, sh) {
			delete(px.shadow, c.Session) // the token begins it anew
		} else if sh != nil {
			k.Issued = sh.issued
		}
	}
	sh := px.shadow[k.Session]
	if sh != nil && s.over(px, sh) && s.listed(px, k.Session) == nil {
		delete(px.shadow, k.Session) // swept away
		sh = nil
	}
	st, known := px.seen[home]
	if !known || st.removed {
		if sh != nil && vain.tried > 0 && k.Issued >= sh.issued {
			delete(px.shadow, k.Session)
		} else if sh != nil { // nobody knows where else it is: it counts where it was
			sh.issued = max(sh.issued, k.Issued, vain.promised)
		}
		return
	}
	if sh != nil && px.seen[sh.home].removed {
		if s.listed(px, k.Session) != sh.home {
			sh = nil // swept away with its instance, and entered anew
		}
	}
	if sh == nil {
		sh = &simShadow{start: k.Start}
		px.shadow[k.Session] = sh
	}
	sh.touched = s.now
	if k.Issued >= sh.issued {
		sh.home, sh.issued = home, k.Issued
	}
	sh.issued = max(sh.issued, vain.promised)
}
