package catalog

import (
	"context"
	"fmt"
)

// Suspend gives the directory back, so that another process can open it, and keeps
// the view: reads go on with it, changes and the storage answer ErrClosed. It is for the
// process that hands its work to a successor; Resume undoes it. Neither may run beside the other
// or beside Close. Suspending twice does nothing. On an error,
// as after a fault that keeps the store from its end, the catalog is not suspended: it goes on with its view and takes no changes.
func (c *Catalog) Suspend() error {
	if c.suspended.Swap(true) {
		return nil
	}
	c.stopFollowing()
	if err := c.store.Load().Close(); err != nil {
		c.suspended.Store(false) // the lock stays with this process, so there is nothing to resume
		return fmt.Errorf("suspend catalog: %w", err)
	}
	return nil
}

// Resume opens the directory again after Suspend and catches up with what another
// process has written meanwhile. On an error the catalog stays suspended, and Resume may be
// tried again: ErrLocked while the other process still has the directory.
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
