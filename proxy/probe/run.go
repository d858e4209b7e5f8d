package probe

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"portico/balancer"
)

// run is one upstream that is checked again and again.
type run struct {
	p        *Prober
	target   Target
	checked  atomic.Bool   // at least once, whatever came of it
	passed   atomic.Bool   // the last check
	ticket   atomic.Uint64 // of its present place among those that are due
	lastFull atomic.Int64  // when a check last went the whole way, nanoseconds since the prober's beginning

	mu     sync.Mutex
	seen   watch       // when it was last looked at, by this proxy or its agent
	timer  *time.Timer // of the next check; nil: none is to come by itself yet
	soon   bool        // the next one does not wait for more than spacing
	state  runState
	again  bool               // asked for while one was under way
	first  bool               // somebody waits for the next one
	ended  time.Time          // of the last one
	cancel context.CancelFunc // of the one under way
}

// runState is what a run is doing.
type runState uint8

const (
	resting runState = iota // until its timer
	queued                  // due, and waits for room
	hurried                 // the same, before others
	checking
	stopped
)

func newRun(p *Prober, t Target) *run { return &run{p: p, target: t} }

// poke has it checked, no sooner than spacing after the last time.
func (r *run) poke() { r.ask(false) }

// hurry is poke for somebody who waits: it goes before most that were due already.
func (r *run) hurry() { r.ask(true) }

func (r *run) ask(first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.state {
	case checking:
		r.again, r.first = true, r.first || first
	case queued:
		if first {
			r.state = hurried
			r.p.due.add(r, true)
		}
	case resting:
		if wait := spacing - time.Since(r.ended); wait > 0 && !r.ended.IsZero() {
			r.afterLocked(wait)
			r.soon, r.first = true, r.first || first
			return
		}
		r.first = first
		r.enqueueLocked()
	case hurried, stopped:
	}
}

// fire is what the timer does.
func (r *run) fire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == resting {
		r.enqueueLocked()
	}
}

func (r *run) enqueueLocked() {
	r.state = queued
	if r.first {
		r.state = hurried
	}
	r.p.due.add(r, r.first)
	r.soon, r.first = false, false
}

// afterLocked sets the timer.
func (r *run) afterLocked(d time.Duration) {
	if r.timer == nil {
		r.timer = time.AfterFunc(d, r.fire)
	} else {
		r.timer.Reset(d)
	}
}

// delay puts the next check off, unless somebody has asked for one.
func (r *run) delay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == resting && !r.soon {
		r.afterLocked(d)
	}
}

// stop ends its checks, also the one that is under way.
func (r *run) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = stopped
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.cancel != nil {
		r.cancel()
	}
}

// begin takes the run out of the queue. It reports false where there is nothing to check any more.
func (r *run) begin() (ctx context.Context, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != queued && r.state != hurried {
		return nil, false
	}
	r.state, r.again = checking, false
	if r.timer != nil {
		r.timer.Stop()
	}
	ctx, r.cancel = context.WithCancel(r.p.ctx)
	return ctx, true
}

// end says when the next check is, at most.
func (r *run) end(next time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel()
	r.cancel = nil
	if r.state != checking {
		return
	}
	r.state, r.ended, r.soon = resting, time.Now(), r.again
	if r.again {
		next = min(next, spacing)
	}
	r.afterLocked(next)
}

// check checks the upstream once and sees to what follows from it.
func (r *run) check() {
	ctx, ok := r.begin()
	if !ok {
		return
	}
	r.end(r.look(ctx))
}

// look asks the upstream, tells the balancer, and returns how long to wait for the next time.
func (r *run) look(ctx context.Context) time.Duration {
	p, u := r.p, r.target.Upstream
	stood := p.lag.during()
	e := r.target.probe(ctx)
	late := stood()
	switch {
	case !e.OK && e.Code != "" && late > r.target.Check.timeout/4:
		return spacing // it was the proxy that was late
	case ctx.Err() != nil || e.Code == "": // our own trouble
		return time.Second
	}
	now := p.time()
	e.Lag = r.missed(p.lag)
	first := u.Doubted() == 0
	effect := u.Observe(e, now)
	if effect.GivenUp && u.Sessions() > 0 {
		p.log.Warn("sessions given up", "site", r.target.Site, "instance", u.Spec().Name, "sessions", u.Sessions(), "check", e.Code, "detail", e.Detail)
	}
	switch silent := e.Code == "L4TOUT"; {
	case silent && effect.GivenUp:
		r.target.Origin.Cut()
	case silent && effect.Changed && effect.To == balancer.Down:
		r.target.Origin.EndUnpinned()
	case e.OK && effect.Changed:
		r.target.Origin.Returned()
	}
	switch {
	case e.OK:
		r.lastFull.Store(int64(time.Since(p.began)))
		p.noteFull(r.target.Member)
	case first && e.Code == "L4TOUT" && r.target.Member != "":
		p.others(r.target.Member, r) // whom its agent spoke for is to be looked at as well
	}
	r.checked.Store(true)
	r.passed.Store(e.OK)
	return u.NextCheck(r.target.Check.interval, rand.Uint64())
}

// missed returns for how much of the time since it was last looked at nobody looked; now somebody has.
func (r *run) missed(l *lag) (d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, r.seen = l.since(r.seen)
	return d
}
