package catalog

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"

	"portico/conf/sites"
	"portico/internal/pause"
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
	store  atomic.Pointer[store] // another one after Resume
	sealer *sealer
	memory *memory     // of an outside etcd; nil: the embedded one has its own files
	stale  atomic.Bool // Open found nobody to ask

	confirmed atomic.Int64 // Unix nanoseconds; see Confirmed

	view atomic.Pointer[View]

	sharing sync.Mutex // held while the catalog becomes reachable for others

	mu      sync.Mutex
	waiters map[*waiter]struct{}       // guarded by mu
	subs    map[chan struct{}]struct{} // guarded by mu

	// Changes run side by side and are repeated on conflict; one that keeps
	// losing takes the lock alone.
	turn sync.RWMutex

	appended atomic.Int64 // audit entries since the last trim

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	stopFollowing func() // ends follow and waits for it; nil before the first view
	suspended     atomic.Bool
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
		if err := o.Peers.valid(); err != nil {
			return nil, fmt.Errorf("open catalog: %w", err)
		}
	}
	c := &Catalog{
		o: o, logger: o.Logger, sealer: sealer,
		waiters: map[*waiter]struct{}{}, subs: map[chan struct{}]struct{}{},
	}
	c.confirmed.Store(time.Now().UnixNano())
	s, err := openAny(o, c.view.Load)
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	c.store.Store(s)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if o.Outside != nil {
		c.memory = newMemory(o.Dir, o.Logger, c.sealer)
	}
	if err := c.boot(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	return c, nil
}

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
		c.wg.Go(func() { c.memory.run(c.ctx) })
		c.wg.Go(func() { c.checkLimits(c.ctx) })
		return nil
	}
	err = markComplete(c.o.Dir)
	if err == nil && c.o.Peers != nil {
		c.wg.Go(c.tend)
		c.wg.Go(func() {
			p := &pulses{c: c, each: map[types.ID]*pulse{}}
			defer p.close()
			p.beat(c.ctx)
		})
	}
	return err
}

// first reads the view that a store which was just opened has.
func (c *Catalog) first(ctx context.Context) (*View, error) {
	wait := bootWait
	if c.store.Load().run.Load().peers != nil {
		if err := c.firstShared(ctx); err != nil {
			return nil, err
		}
		wait = sharedWait
	}
	bctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c.store.Load().ready(bctx)
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

// recall decides what to begin with where the etcd is an outside one: what it has
// just said, or what it said last.
func (c *Catalog) recall(ctx context.Context, view *View, err error) (*View, error) {
	remembered := newMemory(c.o.Dir, c.logger, c.sealer)
	found, lerr := remembered.load()
	if lerr != nil {
		c.logger.Warn("what was remembered of the catalog cannot be read", "error", lerr)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && !found:
		return nil, fmt.Errorf("%w, and nothing is remembered of it here: look whether catalog.endpoints and its certificates are right, and whether that etcd runs", err)
	case err != nil:
		c.stale.Store(true)
		c.logger.Warn("the catalog's etcd does not answer, serving the last known state", "error", err, "waited", bootWait)
		c.memory.take(remembered)
		return c.memory.view()
	case found && view.ClusterID == "":
		return nil, fmt.Errorf("%w: the catalog's etcd has nothing under %q, and this proxy belongs to a cluster: restore that etcd, or remove %s to begin a new cluster", ErrConflict, c.o.Outside.Prefix, remembered.path)
	case found:
		if last, verr := remembered.view(); verr == nil && last.ClusterID != view.ClusterID {
			return nil, fmt.Errorf("%w: the catalog's etcd holds cluster %s, and this proxy belongs to %s: name the right endpoints and prefix, or remove %s to change clusters", ErrConflict, view.ClusterID, last.ClusterID, remembered.path)
		}
	}
	return view, nil
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
			s.ID, s.Created, s.EnvSealed = NewID(now), now, true
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
	items, revision, err := c.store.Load().list(ctx, "", false, serializable)
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
		c.memory.replace(items, revision)
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

// How often a change is repeated.
const (
	attempts   = 64 // then ErrConflict
	politeness = 4  // attempts that share the turn; later ones take it alone in this process
)

// Update runs change in a transaction. What change reads through tx is compared
// when it commits; if another has written to it meanwhile, change runs again on
// fresh data, so it must not have effects of its own, and must not call Update.
// An error from change cancels everything and is returned as it is. Update
// returns the revision that holds the change, and View has it by then. A change
// that writes nothing costs nothing. After ErrUncertain the change may have been
// stored; after every other error it was not.
func (c *Catalog) Update(ctx context.Context, change func(tx *Tx) error) (int64, error) {
	var refused error
	asked := func(tx *Tx) error { refused = change(tx); return refused }
	for n := range attempts {
		if c.ctx.Err() != nil || c.suspended.Load() {
			return 0, fmt.Errorf("change catalog: %w", ErrClosed)
		}
		seen := c.View()
		revision, done, err := c.attempt(ctx, n >= politeness, asked)
		if err != nil && refused != nil && n == 0 && c.catchUp(ctx, seen) {
			continue // what refused the change may be over already, at another proxy
		}
		if done || err != nil {
			return revision, err
		}
		c.settle(ctx, revision)
		if n > 0 {
			if err := pause.For(ctx, rand.N(time.Duration(min(n, 20))*time.Millisecond)); err != nil {
				return 0, fmt.Errorf("change catalog: %w", err)
			}
		}
	}
	return 0, fmt.Errorf("change catalog: %w: the same records were changed by others %d times in a row, try again", ErrConflict, attempts)
}

// attempt runs change once. If it was not done for a conflict, revision is what
// the view must reach before the next attempt makes sense.
func (c *Catalog) attempt(ctx context.Context, alone bool, change func(tx *Tx) error) (revision int64, done bool, err error) {
	if alone {
		c.turn.Lock()
		defer c.turn.Unlock()
	} else {
		c.turn.RLock()
		defer c.turn.RUnlock()
	}
	view := c.View()
	tx := newTx(view, c.sealer)
	if err := change(tx); err != nil {
		return 0, false, err
	}
	tx.dropUnchanged()
	compare, ops, err := tx.commit()
	if err != nil {
		return 0, false, err
	}
	if len(ops) == 0 {
		return view.Revision, true, nil
	}
	if len(compare) > maxOps || len(ops) > maxOps {
		return 0, false, fmt.Errorf("%w: a change reads %d and writes %d records, the most is %d", ErrInvalid, len(compare), len(ops), maxOps)
	}
	ok, revision, err := c.store.Load().transact(ctx, compare, ops)
	if err != nil {
		return 0, false, fmt.Errorf("change catalog: %w", err)
	}
	if !ok {
		return revision, false, nil
	}
	c.noteAudit(tx)
	c.settle(ctx, revision)
	return revision, true, nil
}

// settle waits until the view has a committed change. Whatever keeps it from
// there, the change is done, so that is no error.
func (c *Catalog) settle(ctx context.Context, revision int64) {
	if err := c.reach(ctx, revision); err != nil && c.ctx.Err() == nil {
		c.logger.Warn("a change is stored and not in the view yet", "revision", revision, "error", err)
	}
}

// reach waits until the view has what the store had at revision.
func (c *Catalog) reach(ctx context.Context, revision int64) error {
	if c.memory != nil {
		// The revision may be that of a key beside ours, which no watch of ours sees.
		defer c.store.Load().askProgress(c.ctx)()
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	defer context.AfterFunc(c.store.Load().broken, cancel)()
	_, err := c.Wait(ctx, revision)
	return err
}

// Lock takes the cluster-wide lock called name, waiting for whoever has it. It
// ends with unlock, or half a minute after this process has died. It keeps
// two proxies from doing the same work; it does not make a late write safe.
func (c *Catalog) Lock(ctx context.Context, name string) (unlock func(), err error) {
	if err := validID("lock", name); err != nil {
		return nil, err
	}
	return c.store.Load().mutex(ctx, name)
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
func (c *Catalog) Err() error { return c.store.Load().err() }

// Close stops the store and gives the directory back. It may be called twice.
func (c *Catalog) Close() error {
	c.cancel()
	c.wg.Wait()
	return c.store.Load().close()
}
