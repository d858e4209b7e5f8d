package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog/store"
)

const (
	reviveFirst = 250 * time.Millisecond // before the first look whether the want is over
	reviveLast  = 15 * time.Second       // between two looks, in the end
)

// revive opens another store in place of s, which has stopped, once what it stopped for is over. It reports false where that
// cannot be, or ctx ended first. Nothing that the store has acknowledged is at stake: a start reads what is in the log, as after a kill.
func (c *Catalog) revive(ctx context.Context, s *store.Store) bool {
	if !s.Passing() {
		return false
	}
	began := time.Now()
	c.logger.Error("the catalog takes no changes until it has been opened again, which it is by itself; traffic goes on with the last known state", "error", s.Err())
	if err := s.Close(); err != nil {
		c.staysShut(s, err)
		return false
	}
	if err := c.reopenInTime(ctx, s); err != nil {
		return false
	}
	c.logger.Info("the catalog takes changes again", "after", time.Since(began).Round(time.Millisecond).String())
	return true
}

// staysShut gives up: changes are refused until the process starts again.
func (c *Catalog) staysShut(s *store.Store, why error) {
	s.GiveUp(why)
	c.logger.Error("the catalog cannot be opened again in this process: changes are refused until portico starts again", "error", why)
}

// reopenInTime looks again and again whether what s stopped for is there, and opens a store in its place then.
func (c *Catalog) reopenInTime(ctx context.Context, s *store.Store) error {
	for wait := reviveFirst; ; wait = min(2*wait, reviveLast) {
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
		err := s.Room()
		if err == nil {
			err = c.reopen(ctx)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil, errors.Is(err, store.ErrStuck):
			return err
		}
		c.logger.Warn("the catalog is not open again yet", "error", err, "again", min(2*wait, reviveLast).String())
	}
}

// reopen opens a store in place of one that is closed. Once an attempt has left the files open, there is no other.
func (c *Catalog) reopen(ctx context.Context) error {
	if c.stuck != nil {
		return c.stuck
	}
	err := c.openAgain(ctx)
	if errors.Is(err, store.ErrStuck) {
		c.stuck = err
		c.staysShut(c.store.Load(), err)
	}
	return err
}

// openAgain opens a store in place of one that is closed, and catches up with what it has. On an error the closed one stays in its place.
// Changes wait for it: who makes one on the store before its view has been read would not find it there in time.
func (c *Catalog) openAgain(ctx context.Context) error {
	s, err := c.openStore()
	if err != nil {
		return err
	}
	c.opening.Store(true)
	defer c.opening.Store(false)
	c.turn.Lock()
	defer c.turn.Unlock()
	before := c.store.Swap(s)
	view, err := c.first(ctx)
	if err != nil {
		c.store.Store(before)
		return errors.Join(err, s.Close())
	}
	if view.Revision >= c.View().Revision { // without a quorum it may be older
		c.publish(view, true)
	}
	return nil
}

// openStore opens the store that the options name.
func (c *Catalog) openStore() (*store.Store, error) {
	if err := otherHome(c.o); err != nil {
		return nil, err
	}
	return store.Open(c.o.store(proxies{c}))
}

// store is what the store is told.
func (o Options) store(members store.Members) store.Options {
	return store.Options{
		Dir: o.Dir, Name: o.Name, Peers: o.Peers, Logger: o.Logger, Outside: o.Outside,
		Members: members, Records: store.Records{Check: checkValue, Settled: keySettings},
	}
}

// Suspend gives the directory back, so that another process can open it, and keeps
// the view: reads go on with it, changes and the storage answer ErrClosed. It is for the
// process that hands its work to a successor; Resume undoes it. Neither may run beside the other
// or beside Close. Suspending twice does nothing. On an error,
// as after a fault that keeps the store from its end, the catalog is not suspended: it goes on with its view and takes no changes.
func (c *Catalog) Suspend() error {
	again := c.suspended.Swap(true)
	if !again {
		c.stopFollowing()
	}
	err := c.stuck
	if err == nil {
		err = c.store.Load().Close()
	}
	if err != nil {
		c.suspended.Store(again) // the lock stays with this process, so there is nothing to resume
		return fmt.Errorf("suspend catalog: %w", err)
	}
	return nil
}

// Resume opens the directory again after Suspend and catches up with what another
// process has written meanwhile. On an error the catalog stays suspended, and Resume may be
// tried again: ErrLocked while the other process still has the directory. An attempt that could neither go on nor give the
// directory back is the last one: its error is the answer from then on, Err is ErrBroken, and only the end of this process
// heals it.
func (c *Catalog) Resume(ctx context.Context) error {
	if !c.suspended.Load() {
		return nil
	}
	if err := c.reopen(ctx); err != nil {
		return fmt.Errorf("resume catalog: %w", err)
	}
	c.suspended.Store(false)
	c.startFollowing()
	return nil
}
