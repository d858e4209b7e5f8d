package balancer

import (
	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// resume goes on with the session of a visitor who brings a cookie or a token of
// the application.
func (p *Pool) resume(t *table, r *Request, c *Choice) {
	var k seal.Cookie
	var rd reading
	home, by := p.read(t, r, &k, &rd)
	if rd.some || rd.token {
		p.take(c, &rd)
	}
	switch by {
	case byNothing:
		p.admit(t, r, c)
		return
	case byBareCookie:
		p.adopt(t, r, &k, home, c)
	}
	c.Session, c.Start = k.Session, k.Start
	c.Issue = k.Stale(r.Now/1000, t.config.Idle)
	v := sessions.Visit[*Upstream]{ID: k.Session, At: home, Start: k.Start, Issued: k.Issued}
	// The table's answer may take long to come from memory, and it hardly ever changes where the request
	// goes. So the visitor takes his place first.
	fit := home != nil && home.takes(r)
	if c.Issue {
		c.issued = max(c.issued, k.Issued) // a proxy whose clock is ahead may have issued the cookie before
	}
	if c.Issue && fit {
		v.Anew = c.issued // only if home fits: else perhaps nobody answers, and no such cookie is ever sent
	}
	c.admitted = fit && home.enter()
	f := p.b.sessions.Visit(&v, r.Now)
	if fit && undisturbed(&k, home, f) {
		c.Upstream, c.Pinned = home, true
		return
	}
	if c.admitted {
		c.admitted = false
		p.leave(home, r.Now)
	}
	p.carryOut(t, r, c, &k, home, f, v.Anew)
}

// carryOut does what the plan says. The table expects a cookie that is issued at anew, Unix seconds; 0: none.
func (p *Pool) carryOut(t *table, r *Request, c *Choice, k *seal.Cookie, home *Upstream, f visited, anew int64) {
	pl := p.plan(t, r, k, home, f)
	if pl.course == courseEnd {
		c.Refused = seal.RefusedEnded
		p.Refused[seal.RefusedEnded].Add(1)
		c.Session, c.Start, c.Issue = 0, 0, false
		p.admit(t, r, c)
		return
	}
	if pl.owed && p.b.sessions.ClaimNews(k.Session) {
		c.owed = true
		c.tell(&pl.news)
	}
	if pl.moved {
		// The new cookie must not be older than the newest that the table knows of. Else the table
		// would stop counting the session while a cookie of it is still good.
		c.Issue, c.issued = true, max(anew, pl.issued)
	}
	switch pl.course {
	case courseStay:
		c.Upstream, c.Pinned = pl.home, true
	case courseAwait:
		c.Upstream, c.Pinned, c.Await = pl.home, true, true
	case courseAway:
		c.Issue, c.None = false, NoneAway
	case courseTrial:
		c.Upstream, c.Pinned, c.Trial = pl.home, true, true
	case courseMove:
		k.Issued = max(k.Issued, pl.issued)
		pl.was.prevIssued = k.Issued // the table may know of a newer one than this: of a stream, or of another tab
		p.move(t, r, c, k, &pl.was)
	}
}

// adopt gives a session to a visitor whom HAProxy has placed. Requests of his that come
// together get one session.
func (p *Pool) adopt(t *table, r *Request, k *seal.Cookie, home *Upstream, c *Choice) {
	k.Session, k.Start, k.Issued = p.b.rand()|1, r.Now/1000, r.Now/1000
	if !t.adopts(r) {
		return
	}
	b, key, f := p.lockAdoption(r, k, home)
	defer b.Unlock()
	if f != nil {
		k.Session, k.Start = f.Session, f.Start
		f.Joined++
		return
	}
	c.burstKey, c.Session = key, k.Session
	b.Put(firstVisit{Key: key, Up: home, Session: k.Session, Start: k.Start, Until: r.Now + t.config.burst.Milliseconds()})
}

// adopts reports whether requests with a bare cookie that come together get one session.
func (t *table) adopts(r *Request) bool { return r.Visitor != 0 && t.config.burst >= 0 }

// lockAdoption returns the locked bucket of the burst of such requests, the key of the burst, and the first request, which r joins; nil:
// there is none.
func (p *Pool) lockAdoption(r *Request, k *seal.Cookie, home *Upstream) (b *burstBucket, key uint64, f *firstVisit) {
	key = sessions.Mix(r.Visitor ^ p.hash ^ uint64(k.Token))
	b = p.b.bursts.Lock(key)
	if f = b.Find(key, r.Now); f != nil && f.Up != home {
		f = nil
	}
	return b, key, f
}

// move places a visitor whose instance cannot go on with the session. The new place is the session's from then on.
func (p *Pool) move(t *table, r *Request, c *Choice, k *seal.Cookie, was *loss) {
	d := p.destination(t, r, k, was)
	for d.seat && !d.up.takeSeat(c) {
		d = p.destination(t, r, k, was) // another visitor took the last seat meanwhile
	}
	if d.up == nil {
		c.Issue, c.None = false, d.none
		return
	}
	c.Upstream, c.Pinned, c.FailOpen = d.up, d.kept, d.guess
	if d.guess {
		p.FailOpen.Add(1)
	}
	if d.up == was.up {
		if c.Issue {
			p.b.sessions.Promise(k.Session, c.issued)
		}
		return
	}
	c.home, c.prevIssued = was.up, was.prevIssued
	if !d.kept {
		c.tell(was)
	}
	p.settle(t, r, c, k)
}

// tell notes that the visitor has lost a session, if there was anything to lose.
func (c *Choice) tell(was *loss) {
	if !was.free {
		c.Lost, c.LostFrom = was.cause, was.from
	}
}

// settle notes a move. The new cookie must be newer than the one before, so its issue time may lie a second ahead. Proxies
// that cannot reach each other's instances may move a visitor many times in a second, each time a second further ahead.
// That stops at half of what clocks may differ by. Then two moves may have one issue time, and the cookie that the browser
// brings decides.
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
