package balancer

import "time"

// Request is what Pick needs to know. Hashes are 64 bits, well mixed, made by
// the caller with a key of its own; zero means "none".
type Request struct {
	Now     int64       // Unix milliseconds
	Cookie  []byte      // value of the sticky cookie, empty without one
	Others  [][]byte    // further cookies of the same name
	Visitor uint64      // hash of client address and user agent: keeps the first burst together
	Hash    uint64      // what the policies source, header and uri go by
	Exclude []*Upstream // already tried for this request
	App     uint64      // hash of the application's own session token, see Pool.Learn
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
)

// String returns the reason in a few words.
func (n None) String() string {
	return [...]string{"", "no instance", "all instances down", "all instances draining", "all instances full", "all instances tried"}[min(n, NoneTried)]
}

// Choice is the answer of Pick. Every Choice with an Upstream must be given to
// Done once.
type Choice struct {
	Upstream *Upstream
	None     None // why Upstream is nil

	Session uint64 // id; 0 when the site is not sticky
	Start   int64  // of the session, Unix seconds
	New     bool   // the session begins with this request
	Pinned  bool   // the visitor's cookie named this upstream
	Issue   bool   // send the cookie that AppendCookie writes

	Lost     Cause   // the visitor's session was on another instance and is lost
	LostFrom string  // name of that instance where it is known
	Refused  Refusal // why the cookie was not honoured

	FailOpen bool // no upstream is known to be up: this one is a guess
	Suspect  bool // a connection to it failed since the last good check
	Queue    bool // at its connection limit: enqueue before sending, see Pool.Enqueue

	admitted bool
	at       int64
}

// Pick chooses the upstream for a request and admits the request there, unless
// Choice.Queue says that it must wait.
func (p *Pool) Pick(r *Request) Choice {
	t := p.now.Load()
	c := Choice{at: r.Now}
	if t.config.NotSticky {
		p.choose(t, r, &c)
		return c
	}
	if pinned := p.pinned(t, r, &c); pinned != nil {
		c.Upstream, c.Pinned = pinned, true
	} else if p.choose(t, r, &c); c.Upstream != nil && c.Session == 0 {
		c.Session, c.Start, c.New, c.Issue = p.b.rand()|1, r.Now/1000, true, true
	}
	if c.Upstream != nil {
		c.Suspect = c.Upstream.State() == Suspect
		p.b.sessions.Touch(c.Session, c.Upstream, c.Start, r.Now)
	}
	return c
}

// pinned returns the upstream that the visitor's cookie names, if it may still be
// used, and fills in what the cookie says.
func (p *Pool) pinned(t *table, r *Request, c *Choice) *Upstream {
	if len(r.Cookie) == 0 {
		return nil
	}
	k, refused := t.sealer.Open(r.Cookie)
	if refused == Honoured {
		refused = k.Judge(r.Now/1000, t.config.Idle, t.config.Life)
	}
	if refused != Honoured {
		c.Refused = refused
		if refused == RefusedKey {
			c.Lost = CauseKey
		}
		p.Refused[refused].Add(1)
		return nil
	}
	u := t.byToken[k.Token]
	if u == nil {
		c.Refused = RefusedToken
		p.Refused[RefusedToken].Add(1)
		if !k.Bare {
			c.Lost, c.LostFrom = t.gone.cause(k.Token)
			c.Session, c.Start, c.Issue = k.Session, k.Start, true
		}
		return nil
	}
	c.Session, c.Start = k.Session, k.Start
	c.Issue = k.Stale(r.Now/1000, t.config.Idle)
	if k.Bare {
		c.Session, c.Start, c.New = p.b.rand()|1, r.Now/1000, true
	}
	cause := u.lost(r)
	if cause == CauseNone {
		return u
	}
	c.Issue = true
	if !u.spec.Load().Unpinned {
		c.Lost, c.LostFrom = cause, u.spec.Load().Name
	}
	return nil
}

// lost returns why a visitor pinned to u must move, or CauseNone.
func (u *Upstream) lost(r *Request) Cause {
	if u.Admin() == AdminMaint {
		return CauseOperator
	}
	if excluded(r.Exclude, u) {
		return CauseNetwork
	}
	if u.State() == Down {
		return u.Health().Cause
	}
	return CauseNone
}

func excluded(list []*Upstream, u *Upstream) bool {
	for _, x := range list {
		if x == u {
			return true
		}
	}
	return false
}

// choose places a visitor.
func (p *Pool) choose(t *table, r *Request, c *Choice) {
	from := t.ready
	if len(from) == 0 {
		from, c.FailOpen = t.open, true
	}
	if len(from) == 0 {
		c.None = t.none()
		return
	}
	c.Upstream = t.policy.pick(from, r, p.b.rand())
	if c.Upstream == nil {
		c.None = NoneTried
	}
}

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

// AppendCookie appends the sticky cookie's value for c to dst. It is at most
// MaxCookieLen bytes.
func (p *Pool) AppendCookie(dst []byte, c *Choice) []byte {
	return p.now.Load().sealer.Seal(dst, Cookie{Token: c.Upstream.Token(), Session: c.Session, Issued: c.at / 1000, Start: c.Start})
}

// Outcome is how a request ended.
type Outcome struct {
	Now    int64 // Unix milliseconds
	Result Result
	Status int // of the answer, 0 without one

	// Bytes of the client's side: what it sent, what it was sent.
	BytesIn, BytesOut int64

	Queue    time.Duration // waiting for a free upstream
	Connect  time.Duration // until the connection was ready; 0 when one was reused
	Response time.Duration // from the request's end to the answer's first byte
	Total    time.Duration

	Reused bool   // an idle connection was used
	Detail string // of a failure, one line for people
}

// Result is how a request ended, in one word.
type Result uint8

// The results.
const (
	Answered       Result = iota // a whole answer was passed on
	ConnectFailed                // no connection: counts as evidence against the upstream
	ResponseFailed               // reset or nonsense before an answer: counts as evidence
	TimedOut                     // no answer in time: no evidence, the request may be slow by nature
	ClientAborted                // the client went away
	ServerAborted                // the upstream broke off in the middle of its answer
	Refused                      // the proxy gave up by itself: limits, queue, shutdown
)

// Done accounts for a request and frees its place. It returns what the evidence
// in it led to.
func (p *Pool) Done(c *Choice, o Outcome) Effect {
	u := c.Upstream
	if u == nil {
		return Effect{}
	}
	if c.admitted {
		c.admitted = false
		u.inflight.Add(-1)
	}
	switch o.Result {
	case ConnectFailed, ResponseFailed:
		return u.Observe(Evidence{From: FromTraffic, Detail: o.Detail}, o.Now)
	}
	return Effect{}
}

// AllowRetry reports whether the pool's budget has room for one more retry, and
// takes it.
func (p *Pool) AllowRetry(now int64) bool { return true }
