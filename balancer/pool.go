package balancer

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"portico/balancer/lookup"
	"portico/balancer/meter"
	"portico/balancer/policy"
	"portico/balancer/seal"
	"portico/balancer/waiting"
	"portico/conf/sites"
)

func runtimeRand() uint64 { return rand.Uint64() }

// Config is how a pool behaves. The zero value of each field is its default.
type Config struct {
	Policy    sites.Policy  // "": least-sessions
	NotSticky bool          // no cookie: every request is placed anew
	Idle      time.Duration // a session ends after this time without a request; 0: 30m
	Life      time.Duration // a session ends this long after its start; 0: never
	Health    HealthRules
	SlowStart time.Duration // ramp from a tenth of the weight to all of it after coming up; 0: none
	Zone      string        // of this proxy: upstreams of the same zone are preferred; "": no preference
	HashBound int           // hash policies: most load of one upstream in percent of its fair share, above 100; 0: no bound
	Queue     time.Duration // longest wait for a free upstream; 0: 5s
	Rebalance int           // sessions a minute that may leave, at safe moments, an upstream that has far more than its share; 0: none

	burst    time.Duration // requests of a new visitor join his first one while that has no answer, for so long at most; 0: 2s, negative: off
	queueMax int           // most requests that wait at a time; 0: 1024, negative: none waits
	retry    int           // retries in percent of requests; 0: 20, negative: none
}

func (c Config) withDefaults() Config {
	if c.Policy == "" {
		c.Policy = sites.PolicyLeastSessions
	}
	if c.Idle == 0 {
		c.Idle = 30 * time.Minute
	}
	if c.burst == 0 {
		c.burst = 2 * time.Second
	}
	if c.Queue == 0 {
		c.Queue = 5 * time.Second
	}
	if c.queueMax == 0 {
		c.queueMax = 1024
	}
	if c.retry == 0 {
		c.retry = 20
	}
	c.Health = c.Health.withDefaults()
	return c
}

// Pool is the upstreams of a site. All methods are safe for concurrent use;
// Pick and Done take no lock that other requests wait for.
type Pool struct {
	b    *Balancer
	name string
	hash uint64 // of the name

	now atomic.Pointer[table]

	_    [64]byte      // all requests read what is above and write what is below
	turn atomic.Uint64 // of round robin
	rate meter.Rate    // requests; filled in by tick, for the peak

	retry   retryBudget
	moves   moveBudget
	queue   queue
	room    waiting.Room
	revived revival
	PoolCounters

	mu     sync.Mutex // guards replacing the table, and what follows
	state  poolState
	former Counters // of upstreams that have left
}

// table is everything that Pick reads, immutable and replaced whole.
type table struct {
	config  Config
	sealer  *seal.Sealer
	policy  policy.Policy
	all     []*Upstream
	byID    map[string]*Upstream
	byToken lookup.Index[*Upstream]
	gone    *lookup.Tombstones[loss]
	ready   *group // take new visitors: the best tier only
	open    *group // for new visitors while ready is empty
	ramping bool   // some weight grows with time
}

func newPool(b *Balancer, name string, specs []Spec, c Config, keys []seal.Key, now int64) (*Pool, error) {
	sealer, err := seal.NewSealer(name, keys)
	if err != nil {
		return nil, err
	}
	p := &Pool{b: b, name: name, hash: Hash([]byte(name))}
	p.retry.tokens.Store(retryStart)
	p.state.since = now
	p.now.Store(&table{sealer: sealer, gone: new(lookup.Tombstones[loss])})
	if err := p.Update(specs, c, now); err != nil {
		return nil, err
	}
	return p, nil
}

// Name returns the name of the site.
func (p *Pool) Name() string { return p.name }

// Config returns the configuration with its defaults filled in.
func (p *Pool) Config() Config { return p.now.Load().config }

// Upstreams returns all upstreams, in the order of the last Update. The slice
// must not be changed.
func (p *Pool) Upstreams() []*Upstream { return p.now.Load().all }

// Upstream returns the upstream with an instance id, or nil.
func (p *Pool) Upstream(id string) *Upstream { return p.now.Load().byID[id] }

// Update replaces the upstreams and the configuration. An upstream whose ID
// stays keeps its health, counters and sessions. An error changes nothing.
func (p *Pool) Update(specs []Spec, c Config, now int64) error {
	c = c.withDefaults()
	place, err := policy.Named(c.Policy)
	if err != nil {
		return fmt.Errorf("pool %q: %w", p.name, err)
	}
	if err := checkSpecs(specs); err != nil {
		return fmt.Errorf("pool %q: %w", p.name, err)
	}
	p.change(now, func(t *table) {
		old := *t
		if old.byID != nil {
			p.revived.note(&old.config, &c, now)
		}
		t.config, t.policy = c, place
		t.all, t.byID = nil, make(map[string]*Upstream, len(specs))
		for _, s := range specs {
			u := old.byID[s.ID]
			if u == nil {
				u = p.newUpstream(s, c, now)
			}
			u.setSpec(s)
			t.all = append(t.all, u)
			t.byID[s.ID] = u
		}
		t.bury(p, &old, now)
		t.nameTokens()
	})
	return nil
}

// change makes a copy of the table, lets edit change it, works out what follows
// and publishes it.
func (p *Pool) change(now int64, edit func(*table)) {
	p.mu.Lock()
	t := *p.now.Load()
	edit(&t)
	t.place(p, now)
	p.state.note(t.ready.Len() > 0, now)
	p.now.Store(&t)
	p.mu.Unlock()
	p.release(&t, now)
}

// refresh works out anew what follows from the states of upstreams.
func (p *Pool) refresh(now int64) { p.change(now, func(*table) {}) }

func checkSpecs(specs []Spec) error {
	seen := make(map[string]bool, len(specs))
	for _, s := range specs {
		if s.ID == "" || seen[s.ID] {
			return fmt.Errorf("upstream id %q is empty or not unique", s.ID)
		}
		seen[s.ID] = true
	}
	return nil
}

// bury takes leave of the upstreams of old that t does not have.
func (t *table) bury(p *Pool, old *table, now int64) {
	var left []*Upstream
	var stones []lookup.Tombstone[loss]
	for _, u := range old.all {
		if t.byID[u.id] == nil {
			s := u.spec.Load()
			left = append(left, u)
			stones = append(stones, lookup.Tombstone[loss]{
				ID: u.id, Tokens: *u.tokens.Load(), Means: loss{cause: u.endCause(), from: s.Name, free: s.Unpinned},
			})
		}
	}
	if len(left) == 0 {
		return
	}
	t.gone = old.gone.With(stones, t.config.Idle, now)
	for _, u := range left {
		u.gone.Store(true)
		u.tell()
		u.settle()
		p.b.sessions.Drop(u)
		p.former.merge(&u.Counters)
	}
}

func (p *Pool) newUpstream(s Spec, c Config, now int64) *Upstream {
	u := &Upstream{pool: p, id: s.ID, idHash: Hash([]byte(s.ID)), heard: now}
	u.health.Since, u.adminAt = now, now
	u.health.Reason = "not checked yet"
	if c.Health.Off {
		u.health.rise(c.Health, "no checks", now)
		u.health.take() // it begins so
	}
	u.state.Store(uint32(u.health.State))
	p.b.sessions.Add(u)
	return u
}

func (u *Upstream) setSpec(s Spec) {
	if s.Name == "" {
		s.Name = s.ID
	}
	if s.Weight <= 0 {
		s.Weight = DefaultWeight
	}
	u.spec.Store(&s)
	u.load.MaxConns.Store(int64(s.MaxConns))
	u.load.MaxSessions.Store(int64(s.MaxSessions))
}

// setKeys gives the pool a new sealer.
func (p *Pool) setKeys(keys []seal.Key, now int64) error {
	sealer, err := seal.NewSealer(p.name, keys)
	if err != nil {
		return err
	}
	p.change(now, func(t *table) {
		t.sealer = sealer
		t.gone = t.gone.Rename(sealer)
		t.nameTokens()
	})
	return nil
}

// nameTokens computes the tokens of all upstreams.
func (t *table) nameTokens() {
	t.byToken = lookup.NewIndex[*Upstream](2 * len(t.all))
	for _, u := range t.all {
		if u.sealer != t.sealer {
			tokens := t.sealer.Tokens(u.id)
			u.tokens.Store(&tokens)
			u.sealer = t.sealer
		}
		for _, name := range u.tokens.Load() {
			t.byToken.Add(name, u)
		}
	}
}

// tick does what a pool owes to time.
func (p *Pool) tick(now int64) {
	t := p.now.Load()
	refresh := t.ramping
	var second uint32
	for _, u := range t.all {
		u.Counters.tick(now)
		second += u.Rate.LastSecond(now)
		if u.rest(t.config.Health, now) {
			refresh = true
			u.tellChanges()
		}
	}
	p.rate.Peak(second)
	if refresh {
		p.refresh(now)
	}
	if p.queue.waiting.Load() > 0 {
		for _, u := range t.all { // sessions that have ended leave seats for who waits elsewhere
			p.handOver(u, now)
		}
	}
}

// poolState is since when a pool can serve new visitors or cannot.
type poolState struct {
	up    bool
	known bool
	since int64 // Unix milliseconds
	downs uint64
	down  int64 // milliseconds, without the present stay
}

func (s *poolState) note(up bool, now int64) {
	if s.known && s.up == up {
		return
	}
	if s.known && up {
		s.down += max(now-s.since, 0)
	}
	if s.known && !up {
		s.downs++
	}
	s.up, s.known, s.since = up, true, now
}
