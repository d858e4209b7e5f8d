package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/memory"
	"portico/membership/catalog/store"
)

// Options say where the catalog lives.
type Options struct {
	Dir    string       // made with mode 0700; one process at a time
	Name   string       // this proxy's member name; must not change once the catalog exists
	Peers  *Peers       // how other proxies reach this one's catalog; nil: it stays the only one
	Key    []byte       // KeySize bytes, seals the secrets; see LoadKey
	Logger *slog.Logger // nil: nothing is logged

	// Outside is an etcd to use in place of the embedded one; Dir then holds a
	// copy of what it said last. Nil: the embedded one.
	Outside *Outside
}

// Catalog is the open catalog. All methods may be used concurrently.
type Catalog struct {
	o      Options
	logger *slog.Logger
	store  atomic.Pointer[store.Store] // another one after Resume
	sealer *sealer
	memory *memory.Copy // of an outside etcd; nil: the embedded one has its own files
	stale  atomic.Bool  // Open found nobody to ask

	confirmed atomic.Int64 // Unix nanoseconds; see Confirmed

	view atomic.Pointer[View]

	mu      sync.Mutex
	waiters map[*waiter]struct{}       // guarded by mu
	subs    map[chan struct{}]struct{} // guarded by mu

	// Changes run side by side and are repeated on conflict; one that keeps
	// losing takes the lock alone.
	turn    sync.RWMutex
	opening atomic.Bool // the turn is taken to open the store again

	appended atomic.Int64 // audit entries since the last trim

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	stopFollowing func() // ends follow and waits for it; nil before the first view
	suspended     atomic.Bool
	stuck         error // why the store cannot be opened again; of who reopens it, which one at a time does
}

// waiter is a call that waits for a revision.
type waiter struct {
	revision int64
	done     chan struct{}
}

// Open starts the store in o.Dir and loads the view. A new directory becomes a new
// cluster. It fails with ErrLocked when another process has the directory, with
// ErrCorrupt when the files are damaged (they are left as they are), with
// ErrWrongKey when o.Key is not the key that sealed the secrets. Without
// a quorum it still returns, with the last state that this proxy knew.
func Open(ctx context.Context, o Options) (*Catalog, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := sites.ValidName("member", o.Name); err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	sealer, err := newSealer(o.Key)
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	if o.Peers != nil {
		if err := o.Peers.Valid(); err != nil {
			return nil, fmt.Errorf("open catalog: %w", err)
		}
	}
	c := &Catalog{
		o: o, logger: o.Logger, sealer: sealer,
		waiters: map[*waiter]struct{}{}, subs: map[chan struct{}]struct{}{},
	}
	c.confirmed.Store(time.Now().UnixNano())
	s, err := c.openStore()
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	c.store.Store(s)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if o.Outside != nil {
		c.memory = memory.New(o.Dir, o.Logger, memorable)
	}
	if err := c.boot(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	return c, nil
}

// Exists reports whether a catalog has been opened in dir before.
func Exists(dir string) bool { return store.Exists(dir) }

// How long Open waits for a leader before it falls back to this proxy's own copy.
const (
	bootWait = 5 * time.Second // of one that has no other, and elects itself in 0.1 s

	// sharedWait is for one of several, whose visitors wait meanwhile: a leader that is
	// there speaks to it within 0.2 s.
	sharedWait = 400 * time.Millisecond
)

// boot loads the first view, starts following changes, and names a new cluster.
func (c *Catalog) boot(ctx context.Context) error {
	view, err := c.first(ctx)
	if err != nil {
		return err
	}
	c.view.Store(view)
	c.startFollowing()
	c.wg.Go(c.keepConfirmed)
	if view.ClusterID == "" {
		if err = c.nameCluster(ctx); err == nil {
			err = c.checkKey(c.View()) // another proxy may have been first, with another key
		}
	}
	if err != nil {
		return err
	}
	if !c.Stale() {
		if err := c.sealClear(ctx); err != nil {
			c.logger.Warn("environments that an earlier version stored in the clear are not sealed yet: the next start tries again", "error", err)
		}
	}
	if c.memory != nil {
		c.wg.Go(func() { c.memory.Run(c.ctx) })
		c.wg.Go(func() { c.store.Load().CheckLimits(c.ctx) })
		return nil
	}
	err = store.MarkComplete(c.o.Dir)
	if err == nil && c.o.Peers != nil {
		c.wg.Go(c.maintain)
		c.wg.Go(func() { store.Heartbeat(c.ctx, c.present, c.logger) })
	}
	return err
}

// first reads the view that a store which was just opened has.
func (c *Catalog) first(ctx context.Context) (*View, error) {
	wait := bootWait
	if c.store.Load().Shared() {
		if err := c.firstShared(ctx); err != nil {
			return nil, err
		}
		wait = sharedWait
	}
	bctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c.store.Load().Ready(bctx)
	view, err := c.load(bctx, false)
	switch {
	case c.memory != nil:
		view, err = c.recall(ctx, view, err)
	case err != nil && ctx.Err() == nil && bctx.Err() != nil:
		c.stale.Store(true)
		c.logger.Warn("catalog has no quorum, serving the last known state", "waited", wait)
		view, err = c.load(ctx, true)
	}
	if err != nil {
		return nil, err
	}
	return view, c.checkKey(view)
}

// checkKey refuses a key that does not open the secrets.
func (c *Catalog) checkKey(v *View) error {
	for name, s := range v.secrets {
		if _, err := c.sealer.open(name, s.value); err != nil {
			return c.wrongKey(err)
		}
	}
	return nil
}

// Stale reports whether Open found no quorum and began with the last known state:
// what only a change of the catalog could complete then has to wait.
func (c *Catalog) Stale() bool { return c.stale.Load() }

// nameCluster gives a new cluster its id, which also proves that the store
// acknowledges writes.
func (c *Catalog) nameCluster(ctx context.Context) error {
	_, err := c.Update(ctx, func(tx *Tx) error {
		s := tx.Settings()
		if s.ID == "" {
			now := time.Now().UTC()
			s.ID, s.Created, s.EnvSealed = ids.New(now), now, true
			if c.o.Outside != nil { // the first secret, by which a proxy with another key finds out
				if err := tx.PutSecret(secretCheck, []byte(s.ID)); err != nil {
					return err
				}
			}
		}
		return tx.PutSettings(s)
	})
	return err
}

// load reads everything into a fresh view.
func (c *Catalog) load(ctx context.Context, serializable bool) (*View, error) {
	items, revision, err := c.store.Load().List(ctx, "", false, serializable)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	b := newBuilder(emptyView(), c.sealer)
	for _, it := range items {
		if err := b.put(it); err != nil {
			return nil, err
		}
	}
	if c.memory != nil {
		c.memory.Replace(items, revision)
	}
	return b.finish(revision), nil
}

// View returns the catalog as this process knows it. It never blocks and is
// never nil after Open.
func (c *Catalog) View() *View { return c.view.Load() }

// Subscribe returns a channel that gets a signal when something in the view has
// changed since the last signal was taken. Signals carry nothing and are merged:
// read View after each. The caller must call cancel.
func (c *Catalog) Subscribe() (changed <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	c.mu.Lock()
	c.subs[ch] = struct{}{}
	c.mu.Unlock()
	return ch, func() {
		c.mu.Lock()
		delete(c.subs, ch)
		c.mu.Unlock()
	}
}

// Wait returns the view once its revision is at least revision.
func (c *Catalog) Wait(ctx context.Context, revision int64) (*View, error) {
	c.mu.Lock()
	if v := c.View(); v.Revision >= revision {
		c.mu.Unlock()
		return v, nil
	}
	w := &waiter{revision, make(chan struct{})}
	c.waiters[w] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiters, w)
		c.mu.Unlock()
	}()
	select {
	case <-w.done:
		return c.View(), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for catalog revision %d: %w", revision, context.Cause(ctx))
	case <-c.ctx.Done():
		return nil, ErrClosed
	}
}

// publish makes v the current view.
func (c *Catalog) publish(v *View, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Store(v)
	for w := range c.waiters {
		if w.revision <= v.Revision {
			close(w.done)
			delete(c.waiters, w)
		}
	}
	if !changed {
		return
	}
	for ch := range c.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Secret returns a secret in the clear, or ErrNotFound.
func (c *Catalog) Secret(name string) ([]byte, error) {
	s, ok := c.View().secrets[name]
	if !ok {
		return nil, fmt.Errorf("secret %q: %w", name, ErrNotFound)
	}
	return c.sealer.open(name, s.value)
}

// Err returns ErrBroken once the store has met a fault after which it
// acknowledges nothing, else nil. Views are still served then.
func (c *Catalog) Err() error { return c.store.Load().Err() }

// Close stops the store and gives the directory back. It may be called twice.
func (c *Catalog) Close() error {
	c.cancel()
	c.wg.Wait()
	return c.store.Load().Close()
}
