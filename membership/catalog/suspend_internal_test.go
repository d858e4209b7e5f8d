package catalog

import (
	"errors"
	"testing"
)

// TestStuckCatalogIsNotSuspended: a store that a fault keeps from its end keeps its lock. There is nothing to resume then, and the
// catalog goes on with its view.
func TestStuckCatalogIsNotSuspended(t *testing.T) {
	c := openTest(t)
	if _, err := c.Update(t.Context(), func(tx *Tx) error { return tx.PutSite(Site{Name: "a"}) }); err != nil {
		t.Fatal(err)
	}
	s := c.store.Load()
	s.use.RLock() // an operation that does not end
	done := make(chan struct{})
	t.Cleanup(func() {
		s.use.RUnlock()
		go func() { defer close(done); s.run.Load().stop() }()
		<-done
		_ = s.lock.Close()
	})
	s.fail("commit: input/output error")
	for range 2 {
		if err := c.Suspend(); !errors.Is(err, errStuck) {
			t.Errorf("suspended: %v", err)
		}
		if err := c.Resume(t.Context()); err != nil {
			t.Errorf("resumed: %v", err)
		}
	}
	if c.View().Sites["a"] == nil || !errors.Is(c.Err(), ErrBroken) {
		t.Errorf("the view is gone, or the fault is forgotten: %v", c.Err())
	}
}
