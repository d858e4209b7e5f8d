// Package probe checks the health of instances: when, over which connection, what an answer
// means. What becomes of an instance after so many checks is the balancer's to decide.
package probe

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"portico/balancer"
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
// An upstream that waits for its next check has a timer, and no goroutine.
type Prober struct {
	ctx   context.Context
	log   *slog.Logger
	due   due
	lag   *lag
	time  func() int64 // Unix milliseconds, for the balancer
	began time.Time

	mu      sync.Mutex
	runs    map[string]*run    // guarded by mu, by instance id
	members map[string]int     // guarded by mu, how many of runs there are by member
	streams map[string]*stream // guarded by mu, by member
	wg      sync.WaitGroup     // of streams and of the lag
	done    bool               // guarded by mu
}

// New returns a Prober that checks nothing yet. It works until ctx ends; now is the time for the balancer, in Unix milliseconds.
func New(ctx context.Context, log *slog.Logger, now func() int64) *Prober {
	p := &Prober{
		ctx: ctx, log: log, lag: newLag(), time: now, began: time.Now(),
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
		r.stop()
		defer p.leaveLocked(r.target.Member)
	}
	r := newRun(p, t)
	p.runs[id] = r
	p.members[t.Member]++
	p.listenLocked(t)
	r.poke()
}

// Stop stops checking an upstream, if it is checked.
func (p *Prober) Stop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.runs[id]
	if r == nil {
		return
	}
	r.stop()
	delete(p.runs, id)
	p.leaveLocked(r.target.Member)
}

// Now has one upstream checked without delay.
func (p *Prober) Now(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.runs[id]; r != nil {
		r.hurry()
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

// Close ends all checks.
func (p *Prober) Close() {
	p.mu.Lock()
	p.done = true
	for _, r := range p.runs {
		r.stop()
	}
	p.mu.Unlock()
	p.wg.Wait()
	p.due.wait()
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
