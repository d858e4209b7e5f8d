package balancer

import (
	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// Preview is what Pick would make of a request's visitor: nothing is counted, begun,
// moved or given a place.
type Preview struct {
	By      string       // what named the session: "cookie", "bare cookie" (HAProxy's), "token" (the application's), or ""
	Refused seal.Refusal // why the first cookie was not honoured
	Ended   bool         // the session was ended by an operator: the visitor is a new one

	Session uint64    // 0: none, a bare cookie's, or one that only its token is known of
	Start   int64     // of the session, Unix seconds
	Used    int64     // last, Unix seconds; 0: this proxy has not seen it
	Issued  int64     // of the cookie, Unix seconds
	Home    *Upstream // where the session is; nil: nobody knows that instance any more
	From    string    // its name
	Moved   bool      // since the cookie was issued
	Moving  bool      // an operator wants it moved
	Cause   Cause     // why the session cannot go on there
	Free    bool      // the site keeps no state in its instances, so that a move loses nothing

	Upstream *Upstream // that the request goes to, where that is certain
	None     None      // why it would find none
	Guess    bool      // no instance is known to be up
	Trial    bool      // it was given up, and is asked once more before the session is

	Joins    bool  // the first request of this visitor is on its way: this one would join it
	Waiting  int   // visitors in the waiting room
	Before   int   // of these, ahead of this visitor
	Ticket   bool  // the visitor has a place there
	Seats    int64 // free for new sessions; 1<<40: no ceiling
	Rotation int   // instances that take new visitors
}

// Preview says what Pick would do with r now. Exclude is not looked at.
//
// It is written beside Pick and not with it: Pick notes a visit and learns what was known of the session
// in one step under the lock of a shard, and has its place at the upstream before that. The simulator
// asks for a preview before each pick: TestSimulation holds that the two agree over seeded scenes.
func (p *Pool) Preview(r *Request) Preview {
	t := p.now.Load()
	l := Preview{Rotation: t.ready.Len(), Seats: t.ready.FreeSeats()}
	if t.config.NotSticky {
		p.previewPlace(t, r, &l)
		return l
	}
	k, home, ok := p.previewRead(t, r, &l)
	if ok {
		p.previewResume(t, r, &l, k, home)
		if !l.Ended {
			return l
		}
	}
	p.previewAdmit(t, r, &l)
	return l
}

// previewRead is read without its effects.
func (p *Pool) previewRead(t *table, r *Request, l *Preview) (k seal.Cookie, home *Upstream, ok bool) {
	for i, value := range append([][]byte{r.Cookie}, r.Others...) {
		if len(value) == 0 {
			continue
		}
		k, refused := p.judge(t, r, value)
		if refused == seal.Honoured {
			if l.By = "cookie"; k.Bare {
				l.By = "bare cookie"
			}
			l.Refused = seal.Honoured
			return k, t.byToken.find(k.Token), true
		}
		if i == 0 {
			l.Refused = refused
		}
		if refused == seal.RefusedKey {
			l.Cause = CauseKey
		}
	}
	if r.App == 0 {
		return k, nil, false
	}
	var c Choice
	if home, ok = p.byToken(t, r, &c, &k); ok {
		l.By, l.Cause = "token", CauseNone
	}
	return k, home, ok
}

// judge opens one cookie and says why it would not be honoured.
func (p *Pool) judge(t *table, r *Request, value []byte) (seal.Cookie, seal.Refusal) {
	k, refused := t.sealer.Open(value)
	p.b.sessions.Mend(&k, r.Now/1000)
	if refused == seal.Honoured {
		refused = k.Judge(r.Now/1000, t.config.Idle, t.config.Life)
	}
	if refused == seal.RefusedIdle || refused == seal.RefusedLife {
		refused = p.remembered(t, r, &k, refused)
	}
	if refused == seal.Honoured && k.Bare && t.byToken.find(k.Token) == nil {
		refused = seal.RefusedToken
	}
	if refused == seal.RefusedKey {
		if old := k.Judge(r.Now/1000, t.config.Idle, t.config.Life); old != seal.Honoured {
			refused = old
		}
	}
	return k, refused
}

// previewResume is resume without its effects.
func (p *Pool) previewResume(t *table, r *Request, l *Preview, k seal.Cookie, home *Upstream) {
	l.Session, l.Start, l.Issued = k.Session, k.Start, k.Issued
	var news loss // of a move from before
	in, known := p.b.sessions.Find(k.Session)
	switch {
	case known && (!k.Bare || l.By == "token"):
		f := p.b.sessions.Lookup(k.Session)
		l.Used, l.Ended, l.Moving = in.Last, in.Ended, in.Moving
		if owed := f.Marks&(sessions.MarkOwed|sessions.MarkUntold) == sessions.MarkOwed; f.At != nil && k.Issued < f.Issued && (owed || f.At != home) {
			if owed {
				news = p.news(t, r, &k, home, f.At)
			}
			l.Moved = f.At != home
			home = f.At
		}
	case l.By == "token": // the table was full, and has forgotten the session
		l.Session = 0
		l.Used = p.learned(r.App).Last
		l.Start = l.Used
	case k.Bare:
		l.Session = 0
	}
	if l.Ended {
		l.Refused = seal.RefusedEnded
		return
	}
	was := p.lossOf(t, r, &k, home)
	waits := was.cause == CauseNetwork && !was.free && home != nil && home.waits(t)
	if (was.cause == CauseNone || waits) && l.Moving && t.ready.Len() > 0 {
		was.cause, waits = CauseOperator, false
	}
	l.Trial = !was.free && home != nil && home.deservesTrial(t, r)
	if waits || l.Trial {
		was.cause = CauseNone // nothing is lost yet
	}
	l.Home, l.From, l.Cause = home, was.from, was.cause
	l.Free = was.free
	switch {
	case waits:
		l.None = NoneAway
		return
	case was.cause == CauseNone:
		l.Upstream = home
		if news.cause != CauseNone && !news.free {
			l.From, l.Cause = news.from, news.cause
		}
		return
	}
	if l.Free && home != nil {
		if l.Upstream = p.sibling(t, r, home); l.Upstream != nil {
			return
		}
	}
	q := query{Hash: sessions.Mix(k.Session), Seats: true, Not: home}
	if t.ready.Len() > 0 {
		l.Upstream = t.ready.Rendezvous(&q)
	}
	if l.Upstream == nil {
		if l.None = t.none(); t.ready.Len() > 0 {
			l.None = NoneFull
		}
	}
}

// previewAdmit is admit without its effects.
func (p *Pool) previewAdmit(t *table, r *Request, l *Preview) {
	if r.Fleeting {
		p.previewPlace(t, r, l)
		return
	}
	if n := p.room.Waiting(); n > 0 {
		v, known := t.sealer.OpenTicket(r.Ticket, r.Now)
		l.Ticket = known
		l.Before, l.Waiting = p.room.Before(v, known, r.Now)
		if int64(l.Before) >= l.Seats {
			l.None = NoneFull
			return
		}
	}
	if r.Visitor != 0 && t.config.burst >= 0 {
		key := sessions.Mix(r.Visitor ^ p.hash)
		b := p.b.bursts.lock(key)
		f := b.find(key, r.Now)
		if f != nil && p.joins(t, f, r) {
			l.Joins, l.Upstream = true, f.up
		}
		b.mu.Unlock()
		if l.Joins {
			return
		}
	}
	p.previewPlace(t, r, l)
}

// previewPlace is place without its effects. Policies that take turns or draw lots say
// nothing before they are asked; hashes do.
func (p *Pool) previewPlace(t *table, r *Request, l *Preview) {
	switch {
	case t.ready.Len() == 0:
		if l.None = t.none(); t.open.Len() > 0 {
			l.None, l.Guess = NoneReason, true
		}
	case l.Seats == 0 && !t.config.NotSticky && !r.Fleeting:
		l.None = NoneFull
	case t.config.Policy.Hashes() && r.Hash != 0:
		l.Upstream = t.ready.Choose(&query{Hash: r.Hash, Seats: !t.config.NotSticky && !r.Fleeting, Free: true})
	case t.ready.Len() == 1:
		l.Upstream = t.ready.Only()
	}
}
