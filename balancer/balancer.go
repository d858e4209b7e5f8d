package balancer

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"portico/balancer/bursts"
	"portico/balancer/seal"
	"portico/balancer/sessions"
)

// Options are what all pools of a process share.
type Options struct {
	Keys        []seal.Key // session keys, newest first; required
	MaxSessions int        // bound of the session table; 0: 1<<20

	// Changed is called after each change of an upstream's health, in their order, by whoever made it:
	// it must not wait. Nil: nobody asks.
	Changed func(*Upstream, Change)

	rand func() uint64 // random source; nil: the runtime's
}

// Balancer holds the pools of a process and what they share: the session keys,
// the table of sessions and the memory of first bursts.
type Balancer struct {
	sessions *Sessions
	bursts   *bursts.Table[*Upstream]
	rand     func() uint64
	changed  func(*Upstream, Change)
	seed     maphash.Seed
	appKeys  atomic.Pointer[[]uint64] // one for each key that is valid, as they are arranged

	mu    sync.Mutex
	keys  []seal.Key // newest first, as they were given
	valid []seal.Key // of these: the one that signs, then those that only open
	pools map[string]*Pool
}

// New returns a balancer without pools.
func New(o Options) (*Balancer, error) {
	if err := seal.CheckKeys(o.Keys); err != nil {
		return nil, err
	}
	b := &Balancer{
		sessions: sessions.NewTable[*Upstream](o.MaxSessions),
		bursts:   new(bursts.Table[*Upstream]),
		rand:     o.rand,
		changed:  o.Changed,
		seed:     maphash.MakeSeed(),
		keys:     o.Keys,
		pools:    map[string]*Pool{},
	}
	b.arrangeLocked(0)
	if b.rand == nil {
		b.rand = runtimeRand
	}
	return b, nil
}

// SetKeys replaces the session keys, newest first. Which of them signs follows from
// their times, and changes by itself in Tick.
func (b *Balancer) SetKeys(keys []seal.Key, now int64) error {
	if err := seal.CheckKeys(keys); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys = keys
	return b.turnKeysLocked(now)
}

// turnKeysLocked gives all pools the keys as they count at now.
func (b *Balancer) turnKeysLocked(now int64) error {
	if !b.arrangeLocked(now) {
		return nil
	}
	var failed error
	for _, p := range b.pools {
		failed = errors.Join(failed, p.setKeys(b.valid, now))
	}
	return failed
}

// arrangeLocked works out which keys count at now, and reports whether that has changed.
func (b *Balancer) arrangeLocked(now int64) bool {
	valid := seal.Arrange(b.keys, now)
	if seal.SameKeys(valid, b.valid) {
		return false
	}
	b.valid = valid
	app := make([]uint64, len(valid))
	for i, k := range valid {
		app[i] = appKey(k)
	}
	b.appKeys.Store(&app)
	return true
}

// NewPool adds the pool of a site. The name is part of every cookie's seal, so
// it must be the same on every proxy. A name that exists is refused.
func (b *Balancer) NewPool(name string, specs []Spec, c Config, now int64) (*Pool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pools[name] != nil {
		return nil, fmt.Errorf("add pool %q: it exists", name)
	}
	if err := b.turnKeysLocked(now); err != nil {
		return nil, err
	}
	p, err := newPool(b, name, specs, c, b.valid, now)
	if err != nil {
		return nil, err
	}
	b.pools[name] = p
	b.sessions.Begin(now)
	return p, nil
}

// Pool returns the pool of a site, or nil.
func (b *Balancer) Pool(name string) *Pool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pools[name]
}

// RemovePool takes a site's pool away. Requests that hold it can finish.
func (b *Balancer) RemovePool(name string, now int64) {
	b.mu.Lock()
	p := b.pools[name]
	delete(b.pools, name)
	b.mu.Unlock()
	if p != nil {
		_ = p.Update(nil, p.Config(), now) // an empty pool is always valid
	}
}

// Sessions returns the table of sessions.
func (b *Balancer) Sessions() *Sessions { return b.sessions }

// Tick does what time asks for: it ends idle sessions, steps slow starts, lets the next
// session key sign, keeps peak rates. Call it about once a second; a late call harms nothing.
func (b *Balancer) Tick(now int64) {
	b.mu.Lock()
	_ = b.turnKeysLocked(now) // keys that were taken once are good
	pools := make([]*Pool, 0, len(b.pools))
	for _, p := range b.pools {
		pools = append(pools, p)
	}
	b.mu.Unlock()
	for _, p := range pools {
		p.tick(now)
	}
	b.sessions.Sweep(now)
}

// Sessions is the table of live sessions of all pools.
type Sessions = sessions.Table[*Upstream]

// SessionInfo is one session as people see it.
type SessionInfo = sessions.Info[*Upstream]

// visited is what the table knew of a session that came.
type visited = sessions.VisitResult[*Upstream]

// firstVisit is the first request of a visitor without a cookie, on its way.
type firstVisit = bursts.Visit[*Upstream]

// burstBucket is some of them, under one lock.
type burstBucket = bursts.Bucket[*Upstream]

// view is what the table knows of a session.
type view = sessions.EntryView[*Upstream]
