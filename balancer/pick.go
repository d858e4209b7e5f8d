package balancer

import (
	"slices"

	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// Request is what Pick needs to know. Hashes are 64 bits, well mixed, made by
// the caller with a key of its own (see Balancer.Hash); zero means "none".
type Request struct {
	Now     int64       // Unix milliseconds
	Cookie  []byte      // value of the sticky cookie, empty without one
	Others  [][]byte    // further cookies of the same name
	Visitor uint64      // hash of client address and user agent: keeps the first burst together
	Hash    uint64      // what the policies source, header and uri go by
	App     uint64      // hash of the application's own session token, see Pool.Learn
	Exclude []*Upstream // already tried for this request
	Ticket  []byte      // of the waiting room, see Pool.JoinWaitingRoom
	Near    *Upstream   // to which the client has a connection of its own: where it goes if it has no session; nil: nowhere

	// Fleeting says that the client cannot bring a cookie back from this request, as the preflights of
	// browsers and HEAD of monitors. Without a session it gets none: it takes no seat, and waits for none.
	Fleeting bool

	Expected bool // Expect was called with Cookie

	// Patient reports that the caller can wait for news of the health: a visitor whose
	// own instance refused a connection gets a Choice with Await instead of
	// being moved at once.
	Patient bool
}

// None says why a Choice has no upstream.
type None uint8

// The reasons.
const (
	NoneReason None = iota // there is an upstream
	NoneEmpty              // the pool has no upstreams
	NoneDown               // all are down, or the visitor's is and no other is up
	NoneDrain              // all that live are draining, retiring or in maintenance
	NoneFull               // all are at their ceiling of sessions: new visitors wait outside
	NoneTried              // all were tried for this request
	NoneAway               // the visitor's own cannot be reached, and keeps the session: he should come again soon
	nones
)

var noneNames = [nones]string{"", "no instance", "all instances down", "all instances draining", "all instances full", "all instances tried", "the instance that keeps the session cannot be reached"}

// String returns the reason in a few words.
func (n None) String() string { return noneNames[min(n, nones-1)] }

// Choice is the answer of Pick. Each must be given to Done once, also one
// without an upstream.
type Choice struct {
	Upstream *Upstream
	None     None // why Upstream is nil

	Session uint64 // id; 0 when the site is not sticky
	Start   int64  // of the session, Unix seconds
	New     bool   // the session begins with this request
	Pinned  bool   // the upstream has this visitor's session
	Issue   bool   // send the cookie that AppendCookie writes

	Lost     Cause        // the visitor's session was on another instance and is lost
	LostFrom string       // name of that instance where it is known
	Refused  seal.Refusal // why the cookie was not honoured

	FailOpen bool // no upstream is known to be up: this one is a guess
	Queue    bool // at its connection limit: see Pool.Enqueue

	// Trial says that the upstream was given up by the checks, and is asked once more for the sake of
	// the visitor's session: the connection should take no longer than a moment.
	Trial bool

	// Await asks a patient caller to wait for Upstream.Tell and to pick
	// anew, without that upstream in Exclude. After too long a wait it picks
	// without Patient. The request has no place at the upstream.
	Await bool

	admitted   bool
	done       bool
	reserved   bool      // a session was counted on the upstream before it had an entry
	issued     int64     // Unix seconds, for the cookie
	home       *Upstream // that lost the session
	owed       bool      // the news of the loss is from before this request
	told       bool      // the news of the loss was answered
	prevIssued int64     // issue of the cookie that named home; 0: not moved
	burstKey   uint64    // key of the burst whose first request this is; 0: none
	joined     bool      // to the burst of another request
	byApp      bool      // placed by the application's token
}

// Admitted reports whether the request has its place at the upstream: always,
// but for a choice with Queue that still waits.
func (c *Choice) Admitted() bool { return c.admitted }

// Expect says that a sticky cookie is about to be given to Pick. Among many sessions
// the one that is asked for lies in no cache, and the way to memory takes longer than
// everything else about a choice. Call it as soon as the cookie is known, then
// whatever else there is to do before Pick, and set Request.Expected; the later Pick comes, the
// less it waits. Expect itself never waits, and changes nothing.
func (p *Pool) Expect(cookie []byte) {
	if id := seal.PeekSession(cookie); id != 0 {
		p.b.sessions.Expect(id)
	}
}

// Pick chooses the upstream for a request and admits the request there, unless
// Choice.Queue says that it must wait for a place. The choice is made in its caller's c, because to
// hand one from function to function takes a tenth of the time of making it. What c was before is forgotten.
func (p *Pool) Pick(c *Choice, r *Request) {
	if !r.Expected {
		p.Expect(r.Cookie) // at least what is done below is time to come in
	}
	t := p.now.Load()
	*c = Choice{issued: r.Now / 1000}
	// Counted before all else: here the additions go on while memory is waited for.
	if len(r.Exclude) == 0 {
		p.Requests.Add(1)
		p.retry.refill(int64(t.config.retry))
	} else {
		r.Exclude[len(r.Exclude)-1].Redispatches.Add(1)
	}
	switch {
	case t.config.NotSticky:
		p.place(t, r, c)
	case len(r.Cookie) == 0 && r.App == 0:
		p.admit(t, r, c)
	default:
		p.resume(t, r, c)
	}
	switch {
	case c.Upstream == nil:
	case c.admitted:
		p.entered(c, r.Now)
	case !c.Await:
		p.takePlace(c, r.Now)
	}
}

// place lets the policy choose, for a request without a session or for a new
// one.
func (p *Pool) place(t *table, r *Request, c *Choice) {
	if t.goesNear(r) && (t.ready.Unlimited() || !t.seats(r) || r.Near.takeSeat(c)) {
		c.Upstream = r.Near
		return
	}
	u, ready := choose(t.ready, t, r, p.b.rand(), c)
	if c.Upstream, c.None = u, ready; u != nil || ready == NoneFull {
		return
	}
	// Nobody is known to be up. New visitors have nothing to lose, so they may
	// try whoever could still answer.
	u, open := choose(t.open, t, r, p.b.rand(), c)
	if u != nil {
		c.Upstream, c.None, c.FailOpen = u, NoneReason, true
		p.FailOpen.Add(1)
		return
	}
	c.None = t.nobody(ready, open)
}

// seats reports whether a request that begins something takes a seat.
func (t *table) seats(r *Request) bool { return !t.config.NotSticky && !r.Fleeting }

// query is what the policy is asked for a new visitor.
func (t *table) query(r *Request, random uint64) query {
	return query{Hash: r.Hash, Random: random, Exclude: r.Exclude, Seats: t.seats(r), Free: true}
}

// goesNear reports whether the upstream near to the client takes new visitors and can take this one, with a wait for its
// turn at worst.
func (t *table) goesNear(r *Request) bool {
	return r.Near != nil && t.ready.Has(&query{Exclude: r.Exclude, Seats: t.seats(r)}, r.Near)
}

// choose asks the policy for an upstream of g: with room if possible, else one
// to wait for.
func choose(g *group, t *table, r *Request, random uint64, c *Choice) (*Upstream, None) {
	if g.Len() == 0 {
		return nil, NoneDown
	}
	q := t.query(r, random)
	if g.Unlimited() {
		if u := g.Choose(&q); u != nil {
			return u, NoneReason
		}
		return nil, NoneTried
	}
	for {
		u := g.Choose(&q)
		switch {
		case u != nil && (!q.Seats || u.takeSeat(c)):
			return u, NoneReason
		case u != nil: // another visitor took the last seat meanwhile
		case q.Free:
			q.Free = false
		default:
			q.Seats = false
			if g.Any(&q) {
				return nil, NoneFull
			}
			return nil, NoneTried
		}
	}
}

// outlook says what choose will find in g, short of whom.
func (t *table) outlook(g *group, r *Request) None {
	q := query{Exclude: r.Exclude, Seats: t.seats(r)}
	switch {
	case g.Len() == 0:
		return NoneDown
	case g.Any(&q):
		return NoneReason
	}
	if q.Seats = false; g.Any(&q) {
		return NoneFull
	}
	return NoneTried
}

// nobody says why neither those who take new visitors can be had nor those who might still answer.
func (t *table) nobody(ready, open None) None {
	if ready == NoneTried || open == NoneTried {
		return NoneTried
	}
	return t.none()
}

// takeSeat counts a session at u before it exists, so that a ceiling is never
// passed, and reports whether there was room.
func (u *Upstream) takeSeat(c *Choice) bool {
	most := u.load.MaxSessions.Load()
	if most <= 0 {
		return true
	}
	c.reserved = u.load.Seats.Take(most)
	return c.reserved
}

// none says why nobody can be tried at all.
func (t *table) none() None {
	if len(t.all) == 0 {
		return NoneEmpty
	}
	for _, u := range t.all {
		if u.Admin() == AdminReady && !u.spec.Load().Retiring {
			return NoneDown
		}
	}
	return NoneDrain
}

// admit places a new visitor. Requests of one visitor that come while the first
// of them has no answer yet join it.
func (p *Pool) admit(t *table, r *Request, c *Choice) {
	if r.Fleeting {
		c.Lost = CauseNone // the next request is told, which gets a session
		p.place(t, r, c)
		return
	}
	if p.room.Waiting() > 0 {
		v, known := t.sealer.OpenTicket(r.Ticket, r.Now)
		if !p.room.Admits(v, known, t.ready.FreeSeats(), r.Now) {
			c.None = NoneFull
			return
		}
		defer func() {
			if known && c.Upstream != nil {
				p.room.Leave(v)
			}
		}()
	}
	id := p.b.rand() | 1
	p.b.sessions.Expect(id)
	if !t.bursts(r) {
		if p.place(t, r, c); c.Upstream != nil {
			p.begin(id, r, c)
		}
		return
	}
	b, key, f := p.lockArrival(t, r)
	if f != nil {
		c.Upstream, c.Session, c.Start, c.Pinned, c.Issue, c.joined = f.Up, f.Session, f.Start, true, true, true
		f.Joined++
		b.Unlock()
		c.Lost = CauseNone
		p.Bursts.Add(1)
		p.b.sessions.Visit(&sessions.Visit[*Upstream]{ID: c.Session, At: c.Upstream, Start: c.Start, Issued: c.issued}, r.Now)
		return
	}
	if p.place(t, r, c); c.Upstream != nil {
		p.begin(id, r, c)
		c.burstKey = key
		b.Put(firstVisit{Key: key, Up: c.Upstream, Session: c.Session, Start: c.Start, Until: r.Now + t.config.burst.Milliseconds()})
	}
	b.Unlock()
}

// lockArrival returns the locked bucket of a new visitor's burst, its key, and the first request of it that r joins; nil: none.
func (p *Pool) lockArrival(t *table, r *Request) (b *burstBucket, key uint64, f *firstVisit) {
	key = sessions.Mix(r.Visitor ^ p.hash)
	b = p.b.bursts.Lock(key)
	if f = b.Find(key, r.Now); f != nil && !p.joins(t, f, r) {
		f = nil
	}
	return b, key, f
}

// bursts reports whether a new visitor's requests that come together stay together.
func (t *table) bursts(r *Request) bool {
	return r.Visitor != 0 && t.config.burst >= 0 && r.Near == nil
}

// joins reports whether a request can join the first one of its visitor. An
// upstream that is not known to be up may have refused that one. Where none is, the
// guess that was made for the first is made for all.
func (p *Pool) joins(t *table, f *firstVisit, r *Request) bool {
	if !f.Up.takes(r) && (t.ready.Len() > 0 || !f.Up.mayAnswer(r)) {
		return false
	}
	return f.Up.State() == Up || p.b.sessions.Lookup(f.Session).Known
}

// mayAnswer reports whether u may be tried for r although it is down.
func (u *Upstream) mayAnswer(r *Request) bool {
	return u.State() == Down && !u.exited() && !u.gone.Load() && u.Admin() == AdminReady && !slices.Contains(r.Exclude, u)
}

// begin makes a session on the upstream that was chosen.
func (p *Pool) begin(id uint64, r *Request, c *Choice) {
	c.Session, c.Start, c.New, c.Issue = id, r.Now/1000, true, true
	p.b.sessions.Visit(&sessions.Visit[*Upstream]{ID: c.Session, At: c.Upstream, Start: c.Start, Issued: c.issued, Seat: c.reserved}, r.Now)
	c.reserved = false
	p.NewSessions.Add(r.Now)
}

// takes reports whether u may continue a session for r.
func (u *Upstream) takes(r *Request) bool { return u.loss(r) == CauseNone }

// loss returns why a session on u cannot go on there, or CauseNone.
func (u *Upstream) loss(r *Request) Cause {
	if u.gone.Load() {
		return u.endCause()
	}
	if u.Admin() == AdminMaint {
		return u.maintCause()
	}
	if u.State() == Down {
		switch {
		case !u.kept.Load():
			return u.downCause()
		case u.away.Load():
			return CauseNetwork
		}
	}
	if slices.Contains(r.Exclude, u) {
		return CauseNetwork
	}
	return CauseNone
}

// waits reports whether a session on u is kept for it, although it cannot be reached at the
// moment. Without patience nothing is.
func (u *Upstream) waits(t *table) bool {
	return t.config.Health.Patience > 0 && !u.gone.Load() && u.Admin() != AdminMaint && (u.State() != Down || u.kept.Load())
}

// deservesTrial reports whether u is asked once more before a session there is given up: nobody
// could connect, and nobody has said that the process is gone.
func (u *Upstream) deservesTrial(t *table, r *Request) bool {
	return t.config.Health.Patience > 0 && r.Patient && u.State() == Down && !u.kept.Load() && u.away.Load() && !u.exited() &&
		!u.gone.Load() && u.Admin() != AdminMaint && !slices.Contains(r.Exclude, u)
}

// Keep notes that the session of a choice is in use. Call it every minute or so
// for streams that last, such as WebSockets: their visitors send no cookie that
// could tell.
func (p *Pool) Keep(c *Choice, now int64) {
	if c.Session != 0 {
		p.b.sessions.Keep(c.Session, now, true)
	}
}

// AppendCookie appends the sticky cookie's value for c to dst. It is at most
// MaxCookieLen bytes.
func (p *Pool) AppendCookie(dst []byte, c *Choice) []byte {
	return p.now.Load().sealer.Seal(dst, seal.Cookie{Token: c.Upstream.Token(), Session: c.Session, Issued: c.issued, Start: c.Start})
}
