package balancer

import (
	"slices"

	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// resume continues the session of a visitor who brings a cookie or a token of
// the application.
func (p *Pool) resume(t *table, r *Request, c *Choice) {
	var k seal.Cookie
	home, ok := p.read(t, r, c, &k)
	if !ok {
		p.admit(t, r, c)
		return
	}
	c.Session, c.Start = k.Session, k.Start
	c.Issue = k.Stale(r.Now/1000, t.config.Idle)
	v := sessions.Visit[*Upstream]{ID: k.Session, At: home, Start: k.Start, Issued: k.Issued}
	// The table's answer may have to be waited for. What it hardly ever changes is done before: the
	// visitor has his place at once.
	fit := home != nil && home.takes(r)
	if c.Issue {
		c.issued = max(c.issued, k.Issued) // a proxy whose clock is ahead may have issued the one before
	}
	if c.Issue && fit {
		v.Anew = c.issued // else nobody may answer: what is no cookie must not be newer than one
	}
	c.admitted = fit && home.enter()
	f := p.b.sessions.Visit(&v, r.Now)
	owed := f.Marks&(sessions.MarkOwed|sessions.MarkUntold) == sessions.MarkOwed && k.Issued < f.Issued
	if fit && !owed && f.Marks&(sessions.MarkEnded|sessions.MarkMove) == 0 && (f.At == home || f.At == nil || k.Issued >= f.Issued) {
		c.Upstream, c.Pinned = home, true
		return
	}
	if c.admitted {
		c.admitted = false
		p.leave(home, r.Now)
	}
	switch {
	case f.Marks&sessions.MarkEnded != 0:
		p.refuse(c, seal.RefusedEnded)
		c.Session, c.Start, c.Issue = 0, 0, false
		p.admit(t, r, c)
		return
	case f.At != nil && k.Issued < f.Issued && (owed || f.At != home):
		// The session has moved, and this cookie is from before. The one that follows it is no
		// younger than what the table knows, so that the count does not end before the cookies do.
		if owed {
			p.tellLate(t, r, c, &k, home, f.At)
		}
		home, c.Issue, c.issued = f.At, true, max(v.Anew, f.Issued)
		fit = home.takes(r)
	}
	if fit && f.Marks&sessions.MarkMove == 0 {
		c.Upstream, c.Pinned = home, true
		return
	}
	was := p.lossOf(t, r, &k, home)
	waits := was.cause == CauseNetwork && !was.free && home != nil && home.waits(t)
	if (was.cause == CauseNone || waits) && f.Marks&sessions.MarkMove != 0 && t.ready.Len() > 0 {
		was.cause, waits = CauseOperator, false
	}
	switch {
	case was.cause == CauseNone:
		c.Upstream, c.Pinned = home, true
	case r.Patient && (waits || was.cause == CauseNetwork && home != nil && home.Undecided()):
		c.Upstream, c.Pinned, c.Await = home, true, true
	case waits:
		c.Issue, c.None = false, NoneAway
	case !was.free && home != nil && home.deservesTrial(t, r):
		c.Upstream, c.Pinned, c.Trial = home, true, true
	default:
		k.Issued = max(k.Issued, f.Issued)
		was.prevIssued = k.Issued // what the table knew, where that is newer than the cookie: a stream or another tab
		p.move(t, r, c, &k, was)
	}
}

// tellLate tells of a move to an upstream that was begun for a request that may not have been
// answered: home is where the visitor's cookie says that the session is.
func (p *Pool) tellLate(t *table, r *Request, c *Choice, k *seal.Cookie, home, to *Upstream) {
	if p.b.sessions.Claim(k.Session) {
		was := p.news(t, r, k, home, to)
		c.owed = true
		c.tell(&was)
	}
}

// news is what tellLate has to tell.
func (p *Pool) news(t *table, r *Request, k *seal.Cookie, home, to *Upstream) loss {
	was := p.lossOf(t, r, k, home)
	switch {
	case home == to: // the cookie came with an answer to another request of the moment of the move
		was.cause, was.from = CauseUnknown, ""
	case was.cause == CauseNone:
		was.cause = CauseNetwork // it is back, and could not be reached then
	}
	return was
}

// loss is an instance that a session is or was on, and why it cannot go on there.
type loss struct {
	up    *Upstream // nil: nobody knows it any more
	cause Cause     // CauseNone: it can
	from  string    // its name

	free bool // the site keeps no state there: nothing is lost

	prevIssued int64 // issue of the cookie that names it, Unix seconds
}

func (p *Pool) lossOf(t *table, r *Request, k *seal.Cookie, u *Upstream) loss {
	if u != nil {
		s := u.spec.Load()
		return loss{up: u, cause: u.loss(r), from: s.Name, free: s.Unpinned}
	}
	g := t.gone.find(k.Token)
	return loss{cause: g.cause, from: g.name, free: g.free}
}

// read finds the session of a request: the first of its cookies that is good,
// else the application's token. It reports whether there is one, and fills in k.
func (p *Pool) read(t *table, r *Request, c *Choice, k *seal.Cookie) (home *Upstream, ok bool) {
	if len(r.Cookie) > 0 {
		if home, ok = p.open(t, r, r.Cookie, c, k); ok {
			return home, true
		}
		for _, other := range r.Others {
			p.Refused[seal.RefusedDuplicate].Add(1)
			p.Expect(other)
			if home, ok = p.open(t, r, other, c, k); ok {
				return home, true
			}
		}
	}
	if r.App != 0 {
		if home, ok = p.byToken(t, r, c, k); ok {
			c.Lost = CauseNone
			return home, true
		}
	}
	return nil, false
}

// open judges one cookie. A cookie whose instance nobody knows is good too, as
// long as it is sealed: its visitor lost a session.
func (p *Pool) open(t *table, r *Request, value []byte, c *Choice, k *seal.Cookie) (home *Upstream, ok bool) {
	*k = seal.Cookie{}
	proof, refused := k.Read(value)
	if refused == seal.Honoured {
		refused = t.sealer.Check(k, &proof)
		p.b.sessions.Mend(k, r.Now/1000)
	}
	if refused == seal.Honoured {
		refused = k.Judge(r.Now/1000, t.config.Idle, t.config.Life)
	}
	if refused == seal.RefusedIdle || refused == seal.RefusedLife {
		refused = p.remembered(t, r, k, refused)
	}
	if refused == seal.Honoured {
		home = t.byToken.find(k.Token)
		if home == nil && k.Bare {
			refused = seal.RefusedToken
		}
	}
	if refused != seal.Honoured {
		if refused == seal.RefusedKey {
			// Nobody vouches for the times in it, but only its sender
			// would be deceived by them.
			if old := k.Judge(r.Now/1000, t.config.Idle, t.config.Life); old != seal.Honoured {
				refused = old
			} else {
				c.Lost = CauseKey
			}
		}
		p.refuse(c, refused)
		return nil, false
	}
	if k.Bare {
		p.adopt(t, r, k, home, c)
	}
	c.Lost, c.Refused = CauseNone, seal.Honoured // of the cookies before this one
	return home, true
}

// remembered judges a cookie that is too old by what the table knows of its session: a long stream keeps one
// alive without sending cookies, and a proxy whose clock was set back issues such.
func (p *Pool) remembered(t *table, r *Request, k *seal.Cookie, refused seal.Refusal) seal.Refusal {
	f := p.b.sessions.Lookup(k.Session)
	if !f.Known {
		return refused
	}
	known := seal.Cookie{Session: k.Session, Issued: max(k.Issued, f.Issued), Start: max(k.Start, f.Start)}
	return known.Judge(r.Now/1000, t.config.Idle, t.config.Life)
}

// refuse notes why a cookie was not honoured.
func (p *Pool) refuse(c *Choice, why seal.Refusal) {
	c.Refused = why
	p.Refused[why].Add(1)
}

// adopt gives a session to a visitor whom HAProxy has placed. Requests that
// come together get the same one.
func (p *Pool) adopt(t *table, r *Request, k *seal.Cookie, home *Upstream, c *Choice) {
	k.Session, k.Start, k.Issued = p.b.rand()|1, r.Now/1000, r.Now/1000
	if r.Visitor == 0 || t.config.burst < 0 {
		return
	}
	key := sessions.Mix(r.Visitor ^ p.hash ^ uint64(k.Token))
	b := p.b.bursts.lock(key)
	defer b.mu.Unlock()
	if f := b.find(key, r.Now); f != nil && f.up == home {
		k.Session, k.Start = f.session, f.start
		f.joined++
		return
	}
	c.burstKey, c.Session = key, k.Session
	b.put(firstVisit{key: key, up: home, session: k.Session, start: k.Start, until: r.Now + t.config.burst.Milliseconds()})
}

// move places a visitor whose instance cannot go on: once, and for good.
func (p *Pool) move(t *table, r *Request, c *Choice, k *seal.Cookie, was loss) {
	if was.up != nil && was.free {
		if u := p.sibling(t, r, was.up); u != nil {
			c.Upstream, c.Pinned, c.home, c.prevIssued = u, true, was.up, was.prevIssued
			p.settle(t, r, c, k)
			return
		}
	}
	// All proxies and all parallel requests of this visitor must agree on the
	// new place without asking each other, so it follows from the session's id.
	q := query{Hash: sessions.Mix(k.Session), Exclude: r.Exclude, Seats: true, Not: was.up}
	var u *Upstream
	if t.ready.Len() > 0 {
		for u = t.ready.Rendezvous(&q); u != nil && !u.takeSeat(c); {
			u = t.ready.Rendezvous(&q)
		}
	}
	if u == nil {
		p.stranded(t, r, c, k, was)
		return
	}
	c.Upstream, c.home, c.prevIssued = u, was.up, was.prevIssued
	c.tell(&was)
	p.settle(t, r, c, k)
}

// tell notes that the visitor has lost a session, if there was anything to lose.
func (c *Choice) tell(was *loss) {
	if !was.free {
		c.Lost, c.LostFrom = was.cause, was.from
	}
}

// settle notes a move, with a cookie that is newer than the one before, and be it by a
// second that is still to come. A visitor who is moved with each of many requests in a second, by proxies that
// cannot reach each other's instances, would get far ahead of the clocks: from half of what they may be apart on
// the order of his moves is lost, and what the browser brings counts.
func (p *Pool) settle(t *table, r *Request, c *Choice, k *seal.Cookie) {
	c.Issue = true
	now := r.Now / 1000
	c.issued = max(now, k.Issued, min(k.Issued+1, now+sessions.Ahead(t.config.Idle)/2))
	var marks uint32
	if c.Lost != CauseNone {
		marks = sessions.MarkUntold
	}
	p.b.sessions.Settle(sessions.Visit[*Upstream]{ID: k.Session, At: c.Upstream, Start: k.Start, Issued: c.issued, Seat: c.reserved, Marks: marks}, r.Now)
	c.reserved = false
}

// stranded handles a visitor whose instance is lost while no other is up. As long
// as the own one may still live, one that lacks the session's state is no help. When
// it is gone for good the state is nowhere, and the visitor is as free as a new one
// to try whoever could still answer.
func (p *Pool) stranded(t *table, r *Request, c *Choice, k *seal.Cookie, was loss) {
	if t.ready.Len() == 0 && (was.up == nil || was.up.gone.Load() || was.up.exited()) {
		q := query{Hash: sessions.Mix(k.Session), Exclude: r.Exclude, Not: was.up}
		if u := t.open.Rendezvous(&q); u != nil {
			c.Upstream, c.home, c.prevIssued, c.FailOpen = u, was.up, was.prevIssued, true
			c.tell(&was)
			p.FailOpen.Add(1)
			p.settle(t, r, c, k)
			return
		}
	}
	if was.up != nil && (was.cause == CauseMember || was.cause == CauseNetwork) && !was.up.gone.Load() && !slices.Contains(r.Exclude, was.up) {
		c.Upstream, c.Pinned, c.FailOpen = was.up, true, true
		p.FailOpen.Add(1)
		if c.Issue {
			p.b.sessions.Promise(k.Session, c.issued)
		}
		return
	}
	c.Issue = false
	switch {
	case t.ready.Len() == 0:
		c.None = max(t.none(), NoneDown)
	case t.ready.Any(&query{Exclude: r.Exclude}):
		c.None = NoneFull
	default:
		c.None = NoneTried
	}
}

// sibling returns another upstream of the same release for a visitor of a site
// that keeps no state, also one that retires with it.
func (p *Pool) sibling(t *table, r *Request, home *Upstream) *Upstream {
	var best *Upstream
	var top uint64
	release := home.spec.Load().Release
	for _, u := range t.all {
		if u == home || u.State() != Up || u.spec.Load().Release != release || !u.takes(r) {
			continue
		}
		if s := sessions.Mix(u.idHash ^ r.Visitor); best == nil || s > top {
			best, top = u, s
		}
	}
	return best
}
