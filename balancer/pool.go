package balancer

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

func runtimeRand() uint64 { return rand.Uint64() }

// Config is how a pool behaves. The zero value of each field is its default.
type Config struct {
	Policy    string        // see Policies; "": least-sessions
	NotSticky bool          // no cookie: every request is placed anew
	Idle      time.Duration // a session ends after this time without a request; 0: 30m
	Life      time.Duration // a session ends this long after its start; 0: never
	Health    HealthRules
	SlowStart time.Duration // ramp from a tenth of the weight to all of it after coming up; 0: none
	Zone      string        // of this proxy: upstreams of the same zone are preferred; "": no preference
	HashBound int           // hash policies: most load of one upstream in percent of its fair share, above 100; 0: no bound
	Burst     time.Duration // first requests of one visitor land together for this long; 0: 250ms, negative: off
	Queue     time.Duration // longest wait for a free upstream; 0: 5s
	QueueMax  int           // most requests that wait at a time; 0: 1024
	Retry     int           // retries in percent of requests; 0: 20, negative: none
}

func (c Config) withDefaults() Config {
	if c.Policy == "" {
		c.Policy = LeastSessions
	}
	if c.Idle == 0 {
		c.Idle = 30 * time.Minute
	}
	if c.Burst == 0 {
		c.Burst = 250 * time.Millisecond
	}
	if c.Queue == 0 {
		c.Queue = 5 * time.Second
	}
	if c.QueueMax == 0 {
		c.QueueMax = 1024
	}
	if c.Retry == 0 {
		c.Retry = 20
	}
	c.Health = c.Health.withDefaults()
	return c
}

// Pool is the upstreams of a site. All methods are safe for concurrent use;
// Pick and Done take no lock that other requests wait for.
type Pool struct {
	b    *Balancer
	name string
	now  atomic.Pointer[table]

	mu sync.Mutex // guards replacing the table
	PoolCounters
}

// table is everything that Pick reads, immutable and replaced whole.
type table struct {
	config  Config
	sealer  *Sealer
	policy  policy
	all     []*Upstream
	byID    map[string]*Upstream
	byToken map[Token]*Upstream
	gone    *graveyard
	ready   []*Upstream // take new visitors, best tier only
	open    []*Upstream // for new visitors while ready is empty
}

func newPool(b *Balancer, name string, specs []Spec, c Config, keys []Key, now int64) (*Pool, error) {
	sealer, err := NewSealer(name, keys)
	if err != nil {
		return nil, err
	}
	p := &Pool{b: b, name: name}
	p.now.Store(&table{sealer: sealer, gone: &graveyard{}})
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
	pol, err := newPolicy(c.Policy)
	if err != nil {
		return fmt.Errorf("pool %q: %w", p.name, err)
	}
	seen := make(map[string]bool, len(specs))
	for _, s := range specs {
		if s.ID == "" || seen[s.ID] {
			return fmt.Errorf("pool %q: upstream id %q is empty or not unique", p.name, s.ID)
		}
		seen[s.ID] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.now.Load()
	t := &table{config: c, sealer: old.sealer, policy: pol, gone: old.gone, byID: make(map[string]*Upstream, len(specs))}
	for _, s := range specs {
		u := old.byID[s.ID]
		if u == nil {
			u = p.newUpstream(s, c, now)
		}
		u.setSpec(s)
		t.all = append(t.all, u)
		t.byID[s.ID] = u
	}
	var left []*Upstream
	for _, u := range old.all {
		if !seen[u.id] {
			u.gone.Store(true)
			left = append(left, u)
		}
	}
	if len(left) > 0 {
		t.gone = old.gone.with(left, now, c)
		for _, u := range left {
			p.b.sessions.drop(u)
		}
	}
	t.rebuild(t.sealer, now)
	p.now.Store(t)
	return nil
}

func (p *Pool) newUpstream(s Spec, c Config, now int64) *Upstream {
	u := &Upstream{pool: p, id: s.ID}
	u.health.Since, u.adminAt = now, now
	u.health.Reason = "not checked yet"
	if c.Health.Off {
		u.health.rise(c.Health, "no checks", now)
	}
	u.state.Store(uint32(u.health.State))
	p.b.sessions.add(u)
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
	u.weight.Store(uint32(s.Weight) * 100)
}

// setKeys gives the pool a new sealer.
func (p *Pool) setKeys(keys []Key, now int64) error {
	sealer, err := NewSealer(p.name, keys)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := *p.now.Load()
	t.sealer = sealer
	t.rebuild(sealer, now)
	p.now.Store(&t)
	return nil
}

// refresh rebuilds what is derived from the states of upstreams.
func (p *Pool) refresh(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := *p.now.Load()
	t.place(now)
	p.now.Store(&t)
}

// rebuild computes tokens and places.
func (t *table) rebuild(s *Sealer, now int64) {
	t.byToken = make(map[Token]*Upstream, 2*len(t.all))
	for _, u := range t.all {
		tokens := s.Tokens(u.id)
		u.tokens.Store(&tokens)
		for _, tok := range tokens {
			if t.byToken[tok] == nil {
				t.byToken[tok] = u
			}
		}
	}
	t.place(now)
}

// place computes who takes new visitors: primaries of the proxy's zone, else
// other primaries, else backups, else (open) whatever might still answer.
func (t *table) place(now int64) {
	var tiers [6][]*Upstream // near, far, near backup, far backup, suspect or unverified, down
	for _, u := range t.all {
		s := u.spec.Load()
		if s.Retiring || u.Admin() != AdminReady {
			continue
		}
		tier := 0
		switch u.State() {
		case Up:
			if s.Backup {
				tier = 2
			}
			if t.config.Zone != "" && s.Zone != t.config.Zone {
				tier++
			}
		case Suspect, Unverified:
			tier = 4
		default:
			u.mu.Lock()
			exited := u.health.Cause == CauseExited
			u.mu.Unlock()
			if exited {
				continue
			}
			tier = 5
		}
		tiers[tier] = append(tiers[tier], u)
	}
	t.ready, t.open = nil, nil
	for i, tier := range tiers {
		if len(tier) == 0 {
			continue
		}
		if i < 4 {
			t.ready = tier
		} else {
			t.open = tier
		}
		break
	}
	t.policy.prepare(t.ready)
}

func (p *Pool) tick(now int64) {}
