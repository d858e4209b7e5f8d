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

// Preview says what Pick would do with r now: it reads the same plan.
func (p *Pool) Preview(r *Request) Preview {
	t := p.now.Load()
	l := Preview{Rotation: t.ready.Len(), Seats: t.ready.FreeSeats()}
	if t.config.NotSticky {
		l.place(t, r)
		return l
	}
	var k seal.Cookie
	var rd reading
	home, by := p.read(t, r, &k, &rd)
	l.Refused, l.Cause, l.By = rd.refused, rd.lost, by.String()
	if by != byNothing {
		p.previewResume(t, r, &l, &k, home, by)
	}
	if by == byNothing || l.Ended {
		p.previewAdmit(t, r, &l)
	}
	return l
}

// previewResume shows the plan for a session.
func (p *Pool) previewResume(t *table, r *Request, l *Preview, k *seal.Cookie, home *Upstream, by namedBy) {
	if by == byBareCookie {
		p.previewAdopt(t, r, k, home)
	}
	e := p.b.sessions.Lookup(k.Session)
	f := visited{At: home, Issued: k.Issued}
	l.Session, l.Start = k.Session, k.Start
	switch {
	case e.Known:
		f = visited{At: e.At, Marks: e.Marks, Issued: e.Issued}
		l.Used, l.Moving = e.Last, e.Marks&sessions.MarkMove != 0
	case by == byToken: // the table was full, and has forgotten the session
		l.Session, l.Used = 0, p.learned(r.App).Last
		l.Start = l.Used
	}
	pl := p.plan(t, r, k, home, f)
	if pl.course == courseAwait { // what comes after the wait is what there is to say
		impatient := *r
		impatient.Patient = false
		pl = p.plan(t, &impatient, k, home, f)
	}
	l.Home, l.Moved, l.From, l.Free = pl.home, pl.moved && pl.home != home, pl.was.from, pl.was.free
	if pl.owed && !pl.news.free && pl.course != courseAway {
		l.From, l.Cause = pl.news.from, pl.news.cause
	}
	switch pl.course {
	case courseEnd:
		l.Ended, l.Refused = true, seal.RefusedEnded
	case courseStay:
		l.Upstream = pl.home
	case courseTrial:
		l.Upstream, l.Trial = pl.home, true
	case courseAway:
		l.None = NoneAway
	case courseMove:
		d := p.destination(t, r, k, &pl.was)
		l.Upstream, l.None, l.Guess = d.up, d.none, d.guess
		if d.up == nil || d.up != pl.home {
			l.From, l.Cause = pl.was.from, pl.was.cause
		}
		if k.Session == 0 && !d.kept {
			l.Upstream = nil // follows from the id of a session that is still to begin
		}
	}
}

// previewAdopt gives a bare cookie the session that adopt would, if a request with it is on its way. Else a new one begins.
func (p *Pool) previewAdopt(t *table, r *Request, k *seal.Cookie, home *Upstream) {
	k.Session, k.Start, k.Issued = 0, r.Now/1000, r.Now/1000
	if !t.adopts(r) {
		return
	}
	b, _, f := p.lockAdoption(r, k, home)
	defer b.Unlock()
	if f != nil {
		k.Session, k.Start = f.Session, f.Start
	}
}

// previewAdmit is admit without its effects.
func (p *Pool) previewAdmit(t *table, r *Request, l *Preview) {
	if r.Fleeting {
		l.Cause = CauseNone
		l.place(t, r)
		return
	}
	if p.room.Waiting() > 0 {
		v, known := t.sealer.OpenTicket(r.Ticket, r.Now)
		l.Ticket = known
		l.Before, l.Waiting = p.room.Before(v, known, r.Now)
		if !p.room.Admits(v, known, l.Seats, r.Now) {
			l.None = NoneFull
			return
		}
	}
	if t.bursts(r) {
		b, _, f := p.lockArrival(t, r)
		if f != nil {
			l.Joins, l.Upstream = true, f.Up
		}
		b.Unlock()
		if l.Joins {
			l.Cause = CauseNone
			return
		}
	}
	l.place(t, r)
}

// place is what is certain of a placement. Policies that take turns or draw lots say nothing before
// they are asked; hashes do.
func (l *Preview) place(t *table, r *Request) {
	ready := t.outlook(t.ready, r)
	switch {
	case t.goesNear(r):
		l.Upstream = r.Near
	case ready == NoneFull:
		l.None = NoneFull
	case ready != NoneReason:
		if open := t.outlook(t.open, r); open == NoneReason {
			l.Guess = true
		} else {
			l.None = t.nobody(ready, open)
		}
	case t.config.Policy.Hashes() && r.Hash != 0:
		q := t.query(r, 0)
		if l.Upstream = t.ready.Choose(&q); l.Upstream == nil {
			q.Free = false
			l.Upstream = t.ready.Choose(&q)
		}
	case t.ready.Len() == 1:
		l.Upstream = t.ready.Only()
	}
}
