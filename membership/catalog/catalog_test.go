package catalog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/membership/catalog"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// key is the sealing key of all tests.
var key = make([]byte, catalog.KeySize)

func open(t testing.TB, dir string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestUpdateIsInTheViewWhenItReturns(t *testing.T) {
	start := time.Now()
	c := open(t, t.TempDir())
	t.Log("open took", time.Since(start))
	if c.View().ClusterID == "" {
		t.Fatal("a new catalog has no cluster id")
	}
	changed, cancel := c.Subscribe()
	defer cancel()
	for range 20 {
		now := time.Now()
		name := "site-" + catalog.NewID(now)[13:]
		rev, err := c.Update(context.Background(), func(tx *catalog.Tx) error {
			if _, err := tx.Site(name); !errors.Is(err, catalog.ErrNotFound) {
				return errors.New("there is a site already")
			}
			return tx.PutSite(catalog.Site{Name: name, Created: now})
		})
		if err != nil {
			t.Fatal(err)
		}
		if v := c.View(); v.Sites[name] == nil || v.Revision < rev {
			t.Fatalf("revision %d of the view lacks the site written at %d", v.Revision, rev)
		}
		<-changed
	}
	start = time.Now()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	t.Log("close took", time.Since(start))
}
