package balancer

import (
	"slices"

	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// plan is what is to be done with a request of a session. Pool.plan makes it and changes nothing; Pick carries
// it out, and Preview shows it.
type plan struct {
	course course
	home   *Upstream // where the session is; nil: nobody knows that instance any more
	moved  bool      // the session moved to home after the cookie was issued
	owed   bool      // the visitor was not told of that move yet
	news   loss      // what the visitor is to be told, if owed
	was    loss      // why the session cannot go on at home
	issued int64     // when the newest cookie that the table knows of was issued, Unix seconds
}

// course is what is done with a session.
type course uint8

const (
	courseStay  course = iota // its instance gets the request
	courseAwait               // the caller waits until its instance can be reached or is given up
	courseAway                // nobody gets the request: its instance cannot be reached, and keeps the session
	courseTrial               // its instance was given up, and is asked once more
	courseMove                // it goes to another instance, see destination
	courseEnd                 // an operator has ended it: the visitor is a new one
)

// undisturbed reports whether a session that can go on at home stays there. It finds that of nearly all such sessions, and spares them
// the plan.
func undisturbed(k *seal.Cookie, home *Upstream, f visited) bool {
	return f.Marks&(sessions.MarkEnded|sessions.MarkMove) == 0 && (k.Issued >= f.Issued || !owed(f) && (f.At == home || f.At == nil))
}

// owed reports whether the visitor was not told of the session's last move yet, and no request is about to tell.
func owed(f visited) bool {
	return f.Marks&(sessions.MarkOwed|sessions.MarkUntold) == sessions.MarkOwed
}

// plan works out what is to be done with a session. home is where it is by the cookie, and f is what the table knows
// of it.
func (p *Pool) plan(t *table, r *Request, k *seal.Cookie, home *Upstream, f visited) plan {
	pl := plan{home: home, issued: f.Issued}
	if f.Marks&sessions.MarkEnded != 0 {
		pl.course = courseEnd
		return pl
	}
	if late := owed(f); f.At != nil && k.Issued < f.Issued && (late || f.At != home) {
		pl.home, pl.moved, pl.owed = f.At, true, late
		if late {
			pl.news = p.news(t, r, k, home, f.At)
		}
	}
	pl.was = p.lossOf(t, r, k, pl.home)
	was, up := &pl.was, pl.home
	waits := was.cause == CauseNetwork && !was.free && up != nil && up.waits(t)
	if (was.cause == CauseNone || waits) && f.Marks&sessions.MarkMove != 0 && t.ready.Len() > 0 {
		was.cause, waits = CauseOperator, false
	}
	switch {
	case was.cause == CauseNone:
		pl.course = courseStay
	case r.Patient && (waits || was.cause == CauseNetwork && up != nil && up.Undecided()):
		pl.course = courseAwait
	case waits:
		pl.course = courseAway
	case !was.free && up != nil && up.deservesTrial(t, r):
		pl.course = courseTrial
	default:
		pl.course = courseMove
	}
	return pl
}

// news returns what a visitor is told of an earlier move. Another request began that move to an upstream, and perhaps
// got no answer. home is where the session is by the visitor's cookie.
func (p *Pool) news(t *table, r *Request, k *seal.Cookie, home, to *Upstream) loss {
	was := p.lossOf(t, r, k, home)
	switch {
	case home == to: // the cookie is from the answer to another request, of the moment of the move
		was.cause, was.from = CauseUnknown, ""
	case was.cause == CauseNone:
		was.cause = CauseNetwork // home can be reached again, and could not then
	}
	return was
}

// loss is an instance that a session is or was on, and why it cannot go on there.
type loss struct {
	up    *Upstream // nil: nobody knows it any more
	cause Cause     // CauseNone: it can
	from  string    // its name

	free bool // the site keeps no state there, so nothing is lost

	prevIssued int64 // when the cookie that names it was issued, Unix seconds
}

func (p *Pool) lossOf(t *table, r *Request, k *seal.Cookie, u *Upstream) loss {
	if u != nil {
		s := u.spec.Load()
		return loss{up: u, cause: u.loss(r), from: s.Name, free: s.Unpinned}
	}
	if gone, ok := t.gone.Find(k.Token); ok {
		return gone
	}
	return loss{cause: CauseUnknown}
}

// destination is where a session goes from an instance where it cannot go on.
type destination struct {
	up    *Upstream // nil: nowhere
	none  None      // why
	seat  bool      // the session must take a seat there first
	kept  bool      // nothing is lost: the site keeps no state, or the session was there before
	guess bool      // up is not known to be up
}

// destination works out where a visitor goes whose instance cannot go on.
func (p *Pool) destination(t *table, r *Request, k *seal.Cookie, was *loss) destination {
	if was.up != nil && was.free {
		if u := p.sibling(t, r, was.up); u != nil {
			return destination{up: u, kept: true}
		}
	}
	// All proxies and all parallel requests of a visitor must come to the same new place
	// without asking each other. So the place follows from the session's id.
	q := query{Hash: sessions.Mix(k.Session), Exclude: r.Exclude, Seats: true, Not: was.up}
	if u := t.ready.Rendezvous(&q); u != nil {
		return destination{up: u, seat: !t.ready.Unlimited()}
	}
	return p.stranded(t, r, &q, was)
}

// stranded is the destination of a visitor whose instance is lost while no other is up. While his own
// instance may still live, he is sent there: no other has his session's state. When his own is
// gone for good, nobody has the state, and he may try any instance that could still
// answer, as a new visitor may.
func (p *Pool) stranded(t *table, r *Request, q *query, was *loss) destination {
	if t.ready.Len() == 0 && (was.up == nil || was.up.gone.Load() || was.up.exited()) {
		q.Seats = false
		if u := t.open.Rendezvous(q); u != nil {
			return destination{up: u, guess: true}
		}
	}
	if was.up != nil && (was.cause == CauseMember || was.cause == CauseNetwork) && !was.up.gone.Load() && !slices.Contains(r.Exclude, was.up) {
		return destination{up: was.up, kept: true, guess: true}
	}
	switch {
	case t.ready.Len() == 0:
		return destination{none: max(t.none(), NoneDown)}
	case t.ready.Any(&query{Exclude: r.Exclude}):
		return destination{none: NoneFull}
	}
	return destination{none: NoneTried}
}

// sibling returns another upstream of the same release, for a visitor of a site that keeps
// no state. It may be one that retires, as home may.
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
