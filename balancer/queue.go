package balancer

import (
	"sync"
	"sync/atomic"

	"portico/balancer/meter"
	"portico/balancer/sessions"
	"portico/internal/linked"
)

// Waiter is a request that waits for a place. The caller keeps it until Go was
// called, or Cancel has taken it back.
type Waiter struct {
	Choice Choice // of Pick, with Queue set

	// Go is called once. As a rule the place is there: Choice.Upstream, which
	// may be another one for a new visitor, has admitted the request. If
	// Choice.Admitted is false the upstream will not serve the request any more:
	// exclude it and pick anew. It runs on the goroutine that freed the place, so it must not block: to
	// send on a channel with room, or to wake a loop, is right.
	Go func(*Waiter)

	line *line // nil: not waiting
	link linked.Link[Waiter]
}

// line is waiters in order of arrival.
type line struct {
	linked.List[Waiter]
	n int
}

func (l *line) push(w *Waiter) {
	l.PushBack(&w.link, w)
	w.line = l
	l.n++
}

func (l *line) remove(w *Waiter) {
	l.Remove(&w.link)
	w.line = nil
	l.n--
}

// queue holds the waiters of a pool. Its lock is taken only while somebody waits
// or wants to; requests to upstreams with room never see it.
type queue struct {
	waiting atomic.Int64 // in all lines

	mu     sync.Mutex
	anyone line // new visitors: whichever upstream has room
	most   int  // peak of anyone
	home   map[*Upstream]*line
}

// Enqueue lets a request wait whose Choice has Queue set, and reports whether
// there was room. Visitors whose session is on the upstream go before new ones.
// If a place has become free meanwhile, Go is called before Enqueue returns. The caller
// bounds the wait by Config.Queue and calls Cancel.
func (p *Pool) Enqueue(w *Waiter, now int64) bool {
	q, most := &p.queue, p.Config().queueMax
	u := w.Choice.Upstream
	q.mu.Lock()
	if int(q.waiting.Load()) >= most {
		q.mu.Unlock()
		p.QueueFull.Add(1)
		return false
	}
	if w.Choice.bound() {
		l := q.home[u]
		if l == nil {
			l = &line{}
			if q.home == nil {
				q.home = map[*Upstream]*line{}
			}
			q.home[u] = l
		}
		l.push(w)
		meter.Raise(&u.QueuedMax, u.Queued.Add(1))
	} else {
		q.anyone.push(w)
		q.most = max(q.most, q.anyone.n)
	}
	q.waiting.Add(1)
	q.mu.Unlock()
	// A place that became free between the refusal and now was not handed over,
	// because nobody was seen waiting.
	p.handOver(u, now)
	return true
}

// bound reports whether the choice is for this upstream only: the visitor's
// session is there, also one that has just begun and may be in a cookie already.
func (c *Choice) bound() bool { return c.Session != 0 && !c.New }

// Cancel takes a request out of the queue and reports whether it was still
// waiting: then the choice is void. If it was not, Go has been called or is being called,
// and Choice must be given to Done as usual.
func (p *Pool) Cancel(w *Waiter) bool {
	p.queue.mu.Lock()
	waited := w.line != nil
	if waited {
		p.queue.take(w)
	}
	p.queue.mu.Unlock()
	if waited {
		p.QueueTimeouts.Add(1)
		p.b.bursts.End(&w.Choice.burstKey, w.Choice.Session)
		if w.Choice.New {
			p.b.sessions.Cancel(w.Choice.Session)
		}
	}
	return waited
}

// take removes w from its line.
func (q *queue) take(w *Waiter) {
	if w.line != &q.anyone {
		w.Choice.Upstream.Queued.Add(-1)
		if w.line.n == 1 {
			delete(q.home, w.Choice.Upstream)
		}
	}
	w.line.remove(w)
	q.waiting.Add(-1)
}

// leave frees a place and gives it to who waits for it.
func (p *Pool) leave(u *Upstream, now int64) {
	u.load.InFlight.Add(-1)
	if p.queue.waiting.Load() > 0 {
		p.handOver(u, now)
	}
}

// handOver gives free places of u to waiters: first those who have their
// session there, then new ones if u takes such.
func (p *Pool) handOver(u *Upstream, now int64) {
	for {
		w := p.nextFor(u)
		if w == nil {
			return
		}
		p.entered(&w.Choice, now)
		w.Go(w)
	}
}

// nextFor takes a place at u and returns who gets it.
func (p *Pool) nextFor(u *Upstream) *Waiter {
	q := &p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.home[u]
	if l == nil && (!u.InRotation() || q.anyone.n == 0) || !u.enter() {
		return nil
	}
	if l != nil {
		w := l.First()
		q.take(w)
		return w
	}
	for w := q.anyone.First(); w != nil; w = w.link.Next() {
		if p.reseat(&w.Choice, u) {
			q.take(w)
			return w
		}
	}
	u.load.InFlight.Add(-1) // all who wait have seats elsewhere, and there is none here
	return nil
}

// reseat gives a new visitor another upstream than the one first meant, and reports whether
// that has a seat for the session.
func (p *Pool) reseat(c *Choice, u *Upstream) bool {
	if c.Upstream == u {
		return true
	}
	if c.Session != 0 {
		if !u.takeSeat(c) {
			return false
		}
		p.b.sessions.Settle(sessions.Visit[*Upstream]{ID: c.Session, At: u, Start: c.Start, Issued: c.issued, Seat: c.reserved}, c.issued*1000)
		c.reserved = false
	}
	c.Upstream = u
	return true
}

// release lets those pick anew who wait for an upstream that will not serve them
// any more, and hands over what new limits allow. It is called after each
// change of the table.
func (p *Pool) release(t *table, now int64) {
	if p.queue.waiting.Load() == 0 {
		return
	}
	var freed []*Waiter
	p.queue.mu.Lock()
	for u, l := range p.queue.home {
		if u.loss(&Request{}) == CauseNone {
			continue
		}
		for w := l.First(); w != nil; w = l.First() {
			p.queue.take(w)
			freed = append(freed, w)
		}
	}
	if t.ready.Len() == 0 {
		for w := p.queue.anyone.First(); w != nil; w = p.queue.anyone.First() {
			p.queue.take(w)
			freed = append(freed, w)
		}
	}
	p.queue.mu.Unlock()
	for _, w := range freed {
		w.Go(w)
	}
	for _, u := range t.all {
		p.handOver(u, now)
	}
}
