// Package probe checks the health of instances: when, over which connection, what an answer
// means. What becomes of an instance after so many checks is the balancer's to decide.
package probe

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"portico/balancer"
	"portico/internal/pause"
	"portico/proxy/origin"
)

const (
	// maxRunning bounds the checks that run at the same time, so that a thousand
	// sites do not check in one burst; each takes milliseconds.
	maxRunning = 64

	// maxBody is how much of an answer is read and searched, and maxHead how much comes before that.
	maxBody = 64 << 10
	maxHead = 64 << 10

	// spacing keeps visitors who all find an instance unreachable from having
	// it checked, and found down, all at once.
	spacing = 100 * time.Millisecond
)

// Target is what one check is about.
type Target struct {
	Upstream *balancer.Upstream
	Origin   *origin.Origin
	Check    Check
	Member   string
	Site     string
}

func (t *Target) same(o *Target) bool {
	return t.Upstream == o.Upstream && t.Origin == o.Origin && t.Check == o.Check
}

// Prober checks upstreams, each at its own pace, over the same connections'
// path as traffic. Rise and fall are the balancer's; this is the I/O around them.
type Prober struct {
	ctx   context.Context
	log   *slog.Logger
	room  chan struct{}
	lag   *lag
	time  func() int64 // Unix milliseconds, for the balancer
	began time.Time

	mu      sync.Mutex
	runs    map[string]*run    // guarded by mu, by instance id
	members map[string]int     // guarded by mu, how many of runs there are by member
	streams map[string]*stream // guarded by mu, by member
	wg      sync.WaitGroup
	done    bool // guarded by mu
}

type run struct {
	target   Target
	cancel   context.CancelFunc
	wake     chan struct{}
	timer    *time.Timer  // of the next check
	checked  atomic.Bool  // at least once, whatever came of it
	passed   atomic.Bool  // the last check
	lastFull atomic.Int64 // when a check last went the whole way, nanoseconds since the prober's beginning

	mu   sync.Mutex
	seen watch // when it was last looked at, by this proxy or its agent; guarded by mu
}

// missed returns for how much of the time since it was last looked at nobody looked; now somebody has.
func (r *run) missed(l *lag) (d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, r.seen = l.since(r.seen)
	return d
}

// New returns a Prober that checks nothing yet. It works until ctx ends; now is the time for the balancer, in Unix milliseconds.
func New(ctx context.Context, log *slog.Logger, now func() int64) *Prober {
	p := &Prober{
		ctx: ctx, log: log, room: make(chan struct{}, maxRunning), lag: newLag(), time: now, began: time.Now(),
		runs: map[string]*run{}, members: map[string]int{}, streams: map[string]*stream{},
	}
	p.wg.Go(func() { p.lag.run(ctx) })
	return p
}

// Set starts checking an upstream, at once, or changes how it is checked.
func (p *Prober) Set(id string, t Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	if r := p.runs[id]; r != nil {
		if r.target.same(&t) {
			return
		}
		r.cancel()
		p.members[r.target.Member]--
	}
	ctx, cancel := context.WithCancel(p.ctx)
	r := &run{target: t, cancel: cancel, wake: make(chan struct{}, 1), timer: time.NewTimer(0)}
	p.runs[id] = r
	p.members[t.Member]++
	p.listenLocked(t)
	p.wg.Go(func() { p.run(ctx, r) })
}

// Stop stops checking an upstream, if it is checked.
func (p *Prober) Stop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.runs[id]
	if r == nil {
		return
	}
	r.cancel()
	delete(p.runs, id)
	p.leaveLocked(r.target.Member)
}

// Now has one upstream checked without delay.
func (p *Prober) Now(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.runs[id]; r != nil {
		r.poke()
	}
}

// Member has all upstreams of a member checked without delay.
func (p *Prober) Member(name string) { p.others(name, nil) }

// others has all upstreams of a member checked without delay but one.
func (p *Prober) others(member string, but *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.runs {
		if r.target.Member == member && r != but {
			r.poke()
		}
	}
}

func (r *run) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Close stops all checks and waits for them.
func (p *Prober) Close() {
	p.mu.Lock()
	p.done = true
	for _, r := range p.runs {
		r.cancel()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// run checks one upstream until its context ends.
func (p *Prober) run(ctx context.Context, r *run) {
	defer r.cancel()
	u := r.target.Upstream
	timer := r.timer
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		select {
		case <-ctx.Done():
			return
		case p.room <- struct{}{}:
		}
		stood := p.lag.during()
		e := r.target.probe(ctx)
		<-p.room
		if late := stood(); !e.OK && e.Code != "" && late > r.target.Check.timeout/4 {
			timer.Reset(spacing) // it was the proxy that was late
			continue
		}
		ended := time.Now()
		if ctx.Err() != nil {
			return
		}
		if e.Code == "" { // our own trouble
			timer.Reset(time.Second)
			continue
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
		timer.Reset(u.NextCheck(r.target.Check.interval, rand.Uint64()))
		_ = pause.For(ctx, spacing-time.Since(ended))
	}
}

// LogChanges logs each step of an instance's health, whoever made it: checks, requests or its agent.
func LogChanges(log *slog.Logger) func(*balancer.Upstream, balancer.Change) {
	return func(u *balancer.Upstream, c balancer.Change) {
		level := slog.LevelInfo
		if c.To == balancer.Down {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "instance changed state", "site", u.Pool(), "instance", u.Spec().Name,
			"from", c.From.String(), "to", c.To.String(), "reason", c.Reason)
	}
}

// Passed reports whether the last check of an upstream passed, and asked what its settings ask for: the state of an
// upstream may still go by what it was asked before.
func (p *Prober) Passed(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.runs[id]
	return r != nil && r.passed.Load()
}

// Unchecked is how many upstreams have not been checked yet.
func (p *Prober) Unchecked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.runs {
		if !r.checked.Load() {
			n++
		}
	}
	return n
}
