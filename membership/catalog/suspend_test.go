package catalog_test

import (
	"errors"
	"sync"
	"testing"

	"portico/membership/catalog"
)

// The directory changes hands: a suspended catalog shows its last view and writes
// nothing, another one writes, and after Resume the first one has that as well and goes on.
func TestSuspendAndResume(t *testing.T) {
	dir := t.TempDir()
	put := func(c *catalog.Catalog, site string) (int64, error) {
		return c.Update(t.Context(), func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: site}) })
	}
	c := open(t, dir)
	if _, err := put(c, "one"); err != nil {
		t.Fatal(err)
	}
	if err := c.Suspend(); err != nil {
		t.Fatal(err)
	}
	if c.View().Sites["one"] == nil {
		t.Error("a suspended catalog has lost its view")
	}
	if _, err := put(c, "refused"); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("a suspended catalog takes a change: %v", err)
	}
	if _, err := c.Storage().Get(t.Context(), "x"); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("the storage of a suspended catalog answers %v", err)
	}

	other, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	revision, err := put(other, "two")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(t.Context()); !errors.Is(err, catalog.ErrLocked) {
		t.Errorf("resumed while another has the directory: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}

	changed, cancel := c.Subscribe()
	defer cancel()
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-changed
	if v := c.View(); v.Sites["two"] == nil || v.Revision < revision {
		t.Errorf("revision %d, want %d and what the other wrote", v.Revision, revision)
	}
	if revision, err = put(c, "three"); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Wait(t.Context(), revision); err != nil || v.Sites["three"] == nil {
		t.Errorf("after Resume the view does not follow: %v", err)
	}
}

// Readers and writers who are in the middle of something when the store closes get an
// error; a closed store under their feet would end the process.
func TestSuspendWhileInUse(t *testing.T) {
	c := open(t, t.TempDir())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := c.Storage().Put(t.Context(), "k", []byte("v"))
				if _, get := c.Storage().Get(t.Context(), "k"); get != nil && !errors.Is(get, catalog.ErrNotFound) {
					err = errors.Join(err, get)
				}
				if err != nil && !errors.Is(err, catalog.ErrClosed) {
					t.Errorf("while the store closes and opens: %v", err)
				}
			}
		})
	}
	for range 3 {
		if err := c.Suspend(); err != nil {
			t.Error(err)
		}
		if err := c.Resume(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if err := c.Suspend(); err != nil {
		t.Error(err)
	}
}
