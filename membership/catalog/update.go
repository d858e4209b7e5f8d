package catalog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog/store"
)

// How often a change is repeated.
const (
	attempts   = 64 // then ErrConflict
	politeness = 4  // attempts that share the turn; later ones take it alone in this process

	openingLook = 5 * time.Millisecond // between two looks whether the catalog is open again
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
	for c.opening.Load() { // nobody should wait for that longer than he wants to
		if err := pause.For(ctx, openingLook); err != nil {
			return 0, false, fmt.Errorf("change catalog: %w", err)
		}
	}
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
	if len(compare) > store.MaxOps || len(ops) > store.MaxOps {
		return 0, false, fmt.Errorf("%w: a change reads %d and writes %d records, the most is %d", ErrInvalid, len(compare), len(ops), store.MaxOps)
	}
	ok, revision, err := c.store.Load().Transact(ctx, compare, ops)
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
		defer c.store.Load().AskProgress(c.ctx)()
	}
	ctx, cancel := context.WithTimeout(ctx, store.OpTimeout)
	defer cancel()
	defer context.AfterFunc(c.store.Load().Broken(), cancel)()
	_, err := c.Wait(ctx, revision)
	return err
}
