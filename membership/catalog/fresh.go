package catalog

import (
	"context"
	"fmt"
	"time"

	"portico/internal/pause"
)

const (
	confirmEvery = time.Second     // between two looks whether the view is up to date
	oldAfter     = 3 * time.Second // a view that was not confirmed for so long is called old
)

// Confirm brings the view to what any proxy has written by now, or says why that cannot
// be: then the view may be old.
func (c *Catalog) Confirm(ctx context.Context) error {
	if c.soleOwner() {
		return nil
	}
	asked := time.Now()
	_, revision, err := c.store.Load().List(ctx, preGen, true, false)
	if err == nil && revision > c.View().Revision {
		err = c.reach(ctx, revision)
	}
	if err != nil {
		return fmt.Errorf("read the catalog: %w", err)
	}
	c.confirmed.Store(asked.UnixNano())
	return nil
}

// Confirmed returns the last time at which the view held everything that any proxy had
// written by then; before the first such time, when this process opened the catalog.
func (c *Catalog) Confirmed() time.Time {
	if c.soleOwner() {
		return time.Now() // nobody else writes
	}
	return time.Unix(0, c.confirmed.Load())
}

// OldSince returns since when the view may lack what other proxies have written; zero:
// it does not.
func (c *Catalog) OldSince() time.Time {
	if at := c.Confirmed(); time.Since(at) > oldAfter {
		return at
	}
	return time.Time{}
}

// soleOwner reports whether no other proxy has the catalog, and this one can write it.
func (c *Catalog) soleOwner() bool {
	s := c.store.Load()
	return s.Embedded() && !s.Shared() && s.Err() == nil && s.Led() && !c.suspended.Load()
}

// keepConfirmed looks now and then whether the view is up to date, until Close.
func (c *Catalog) keepConfirmed() {
	for pause.ForTick(c.ctx, confirmEvery) == nil {
		if c.soleOwner() || c.suspended.Load() || !c.HasLeader() {
			continue
		}
		ctx, cancel := context.WithTimeout(c.ctx, storedWait)
		_ = c.Confirm(ctx) // who needs to know asks OldSince
		cancel()
	}
}

// Current returns the view with everything that any proxy has written by now, or the last
// known one when that does not come within two seconds.
func (c *Catalog) Current(ctx context.Context) *View {
	c.catchUp(ctx, nil)
	return c.View()
}

// catchUp brings the view to what any proxy has written by now, and reports whether it
// is another one than seen.
func (c *Catalog) catchUp(ctx context.Context, seen *View) bool {
	if c.memory != nil && c.memory.Down() {
		return c.View() != seen
	}
	ctx, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	_ = c.Confirm(ctx) // a view that is old is better than none
	return c.View() != seen
}
