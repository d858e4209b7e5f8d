package balancer

import (
	"time"

	"portico/balancer/meter"
	"portico/balancer/sessions"
)

// Result is how a request ended, in one word.
type Result uint8

// The results.
const (
	Answered       Result = iota // a whole answer was passed on
	ConnectFailed                // no connection: evidence against the upstream
	ResponseFailed               // reset or nonsense before an answer: evidence, unless the connection was reused, see Done
	TimedOut                     // no answer in time: no evidence, as some applications are slow
	ClientAborted                // the client went away
	ServerAborted                // the upstream broke off in the middle of its answer
	Refused                      // the proxy gave up by itself: limits, queue, shutdown
)

// Outcome is how a request ended.
type Outcome struct {
	Now    int64 // Unix milliseconds
	Result Result
	Status int // of the answer, 0 without one

	// Bytes on the client's side: what the client sent, and what it was sent.
	BytesIn, BytesOut int64

	Queue    time.Duration // waiting for a free place
	Connect  time.Duration // until the connection was ready; not looked at with Reused
	Response time.Duration // from the request's end to the answer's first byte
	Total    time.Duration

	Reused  bool   // an idle connection was used
	Retried bool   // another attempt follows
	Detail  string // of a failure, one line for people
}

// unanswered reports whether nothing of an answer of the upstream has gone to the client.
func (o *Outcome) unanswered() bool {
	switch o.Result {
	case ConnectFailed, ResponseFailed, Refused:
		return true
	case TimedOut, ClientAborted, ServerAborted:
		return o.Status == 0
	}
	return false
}

// Answering notes that the head of an answer is about to go to the client, with the cookie and
// the news of a lost session in it. It ends the visitor's first burst: whoever comes without
// a cookie from here on is somebody else. Call it just before the head goes. Done ends the
// burst of a request that had no answer.
func (p *Pool) Answering(c *Choice) {
	p.b.bursts.End(&c.burstKey, c.Session)
	if c.Lost != CauseNone && c.Session != 0 {
		p.b.sessions.SettleNews(c.Session, true)
		c.told = true
	}
}

// takePlace takes a place at the upstream for a request. Where none is free, the choice says that it must wait.
func (p *Pool) takePlace(c *Choice, now int64) {
	if c.Upstream.enter() {
		p.entered(c, now)
		return
	}
	c.Queue = true
}

// enter takes a place for one request and reports whether there was one.
func (u *Upstream) enter() bool {
	n := u.load.InFlight.Add(1)
	if most := u.load.MaxConns.Load(); most > 0 && n > most {
		u.load.InFlight.Add(-1)
		return false
	}
	if n > u.Max.Load() {
		meter.Raise(&u.Max, n)
	}
	return true
}

// entered counts a request that has its place.
func (p *Pool) entered(c *Choice, now int64) {
	u := c.Upstream
	c.admitted, c.Queue = true, false
	u.Rate.Add(now)
	if !c.Pinned {
		u.Picked.Add(1)
	}
	if now-u.LastUsed.Load() >= 1000 {
		u.LastUsed.Store(now)
	}
}

// Done counts how a request ended, and frees its place. How it ended may be evidence of the
// upstream's health: Done returns what followed from that. A second call does nothing.
func (p *Pool) Done(c *Choice, o Outcome) Effect {
	p.b.bursts.End(&c.burstKey, c.Session)
	u := c.Upstream
	if c.done {
		return Effect{}
	}
	c.done = true
	if u == nil {
		if !o.Retried {
			p.Nothing[c.None].Add(1)
		}
		if c.owed {
			p.b.sessions.SettleNews(c.Session, false)
		}
		return Effect{}
	}
	switch {
	case c.New && o.unanswered():
		p.b.sessions.Cancel(c.Session) // the client got no cookie, so the session never began
	case c.prevIssued != 0 && o.unanswered():
		p.b.sessions.Revert(sessions.Move[*Upstream]{ID: c.Session, From: c.home, To: u, Before: c.prevIssued, Issued: c.issued}) // nor did the session move
	case c.Session != 0 && o.Total >= time.Second:
		p.b.sessions.Keep(c.Session, o.Now, false)
	}
	if c.Session != 0 && c.Lost != CauseNone && !c.told && (c.owed || !o.unanswered()) {
		p.b.sessions.SettleNews(c.Session, !o.unanswered())
	}
	if !c.admitted {
		return Effect{}
	}
	c.admitted = false
	p.leave(u, o.Now)
	if c.Lost != CauseNone && !o.unanswered() {
		p.Lost[c.Lost].Add(1)
		if c.home != nil {
			c.home.Lost[c.Lost].Add(1)
		}
	}
	u.Counters.count(&o)
	if o.Result == Answered && o.Status < 500 && u.doubt.Load() {
		u.Observe(Evidence{From: FromTraffic, OK: true}, o.Now)
	}
	// Servers close idle connections, and a request may meet that: a reset of a reused connection is no evidence. The caller tries
	// once more on a fresh one to the same upstream.
	if o.Result == ConnectFailed || o.Result == ResponseFailed && !o.Reused {
		return u.Observe(Evidence{From: FromTraffic, Detail: o.Detail}, o.Now)
	}
	return Effect{}
}

func (c *Counters) count(o *Outcome) {
	class := o.Status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	switch o.Result {
	case ConnectFailed:
		c.ConnectErrors.Add(1)
		class = -1
	case ResponseFailed:
		c.ResponseFails.Add(1)
		class = -1
	case TimedOut:
		c.TimeOuts.Add(1)
	case ClientAborted:
		c.ClientAborts.Add(1)
	case ServerAborted:
		c.ServerAborts.Add(1)
	}
	if class > 0 || class == 0 && o.Status != 0 {
		c.Status[class].Add(1)
	}
	if o.Retried {
		c.Retries.Add(1)
	}
	if o.BytesIn != 0 {
		c.BytesIn.Add(uint64(o.BytesIn))
	}
	if o.BytesOut != 0 {
		c.BytesOut.Add(uint64(o.BytesOut))
	}
	if o.Queue > 0 {
		c.QueueTime.Observe(o.Queue)
	}
	switch {
	case o.Reused:
		c.Reuses.Add(1)
	case o.Result != Refused:
		c.Connects.Add(1)
		c.ConnectTime.Observe(o.Connect)
	}
	if o.Status != 0 {
		c.ResponseTime.Observe(o.Response)
		c.TotalTime.Observe(o.Total)
	}
}
