package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"portico/membership/catalog"
	"portico/tests/support/etcdtest"
	"portico/tests/support/written"
)

const manyOps = 16384

func outsideOptions(s *etcdtest.Server, dir, name string) catalog.Options {
	return catalog.Options{Dir: dir, Name: name, Key: key, Outside: &catalog.Outside{
		Endpoints: []string{s.Endpoint}, CA: s.CA, Cert: s.Cert, Key: s.Key, Prefix: "portico/",
	}}
}

func openOutside(t *testing.T, o catalog.Options) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Two proxies on one outside etcd see each other's changes, exclude each other
// by its locks, and share what they store, beside keys of somebody else.
func TestTwoProxiesShareAnOutsideEtcd(t *testing.T) {
	s := etcdtest.Start(t, manyOps)
	one := openOutside(t, outsideOptions(s, t.TempDir(), "proxy-1"))
	two := openOutside(t, outsideOptions(s, t.TempDir(), "proxy-2"))
	if one.View().ClusterID == "" || one.View().ClusterID != two.View().ClusterID {
		t.Fatalf("clusters %q and %q", one.View().ClusterID, two.View().ClusterID)
	}
	stranger(t, s)
	both := []*catalog.Catalog{one, two}
	var wg sync.WaitGroup
	for i := range 40 {
		c := both[i%2]
		wg.Go(func() {
			_, err := c.Update(t.Context(), func(tx *catalog.Tx) error {
				site, err := tx.Site("shop")
				if err != nil && !errors.Is(err, catalog.ErrNotFound) {
					return err
				}
				site.Name, site.Deploy = "shop", site.Deploy+"x"
				return tx.PutSite(site)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, c := range both {
		wait(t, c, "all changes", func(v *catalog.View) bool {
			return v.Sites["shop"] != nil && len(v.Sites["shop"].Deploy) == 40
		})
	}
	if err := one.Storage().Put(t.Context(), "a/b", []byte("value")); err != nil {
		t.Fatal(err)
	}
	if got, err := two.Storage().Get(t.Context(), "a/b"); err != nil || string(got) != "value" {
		t.Errorf("%q, %v", got, err)
	}
	unlock, err := one.Lock(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := two.Lock(ctx, "job"); err == nil {
		t.Error("two proxies have one lock")
	}
	unlock()
	if unlock, err = two.Lock(t.Context(), "job"); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := one.Backup(t.Context(), new(bytes.Buffer)); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("backup of an etcd that is not portico's own: %v", err)
	}
}

// stranger writes keys beside the catalog's for as long as the test lasts.
func stranger(t *testing.T, s *etcdtest.Server) {
	t.Helper()
	config, err := (&catalog.Outside{CA: s.CA, Cert: s.Cert, Key: s.Key}).TLS()
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint}, TLS: config, DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_, _ = client.Put(ctx, "other/key", "value")
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); _ = client.Close() })
}

func wait(t *testing.T, c *catalog.Catalog, what string, ok func(*catalog.View) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(c.View()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not there after a minute: " + what)
		}
	}
}

// A proxy that starts while its etcd is away serves what it knew, certificates and
// secrets included, and follows again when the etcd is back.
func TestStartWithoutTheOutsideEtcd(t *testing.T) {
	s := etcdtest.Start(t, manyOps)
	o := outsideOptions(s, t.TempDir(), "proxy-1")
	c := openOutside(t, o)
	update(t, c, func(tx *catalog.Tx) error {
		return errors.Join(tx.PutSite(catalog.Site{Name: "shop"}), tx.PutSecret("hush", []byte("plain text")))
	})
	if err := c.Storage().Put(t.Context(), "certificates/shop", []byte("chain")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	remembered, err := os.ReadFile(filepath.Join(o.Dir, "remembered"))
	if err != nil || bytes.Contains(remembered, []byte("plain text")) || bytes.Contains(remembered, []byte("chain")) {
		t.Errorf("remembered: %v, or a secret lies there in the clear", err)
	}
	s.Kill()

	c = openOutside(t, o)
	if !c.Stale() || c.View().Sites["shop"] == nil {
		t.Errorf("stale %v, sites %v", c.Stale(), c.View().Sites)
	}
	if got, err := c.Secret("hush"); err != nil || string(got) != "plain text" {
		t.Errorf("secret %q, %v", got, err)
	}
	if got, err := c.Storage().Get(t.Context(), "certificates/shop"); err != nil || string(got) != "chain" {
		t.Errorf("stored %q, %v", got, err)
	}
	if keys, err := c.Storage().List(t.Context(), "certificates", false); err != nil || len(keys) != 1 {
		t.Errorf("stored %v, %v", keys, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Update(ctx, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "more"}) }); err == nil {
		t.Error("a change was taken without an etcd")
	}

	s.Restart()
	other := openOutside(t, outsideOptions(s, t.TempDir(), "proxy-2"))
	update(t, other, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "later"}) })
	wait(t, c, "a change after the etcd came back", func(v *catalog.View) bool { return v.Sites["later"] != nil })
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "more"}) })
}

// What cannot be right is refused with words that help.
func TestOutsideEtcdRefusals(t *testing.T) {
	s := etcdtest.Start(t, 0)
	o := outsideOptions(s, t.TempDir(), "proxy-1")
	log := &written.Buffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	c := openOutside(t, o)
	eventually(t, func() error {
		if !strings.Contains(log.String(), "--max-txn-ops 16384") {
			return fmt.Errorf("nothing is said of an etcd with small transactions: %s", log.String())
		}
		return nil
	})
	_, err := c.Update(t.Context(), func(tx *catalog.Tx) error {
		for i := range 200 {
			if err := tx.PutSite(catalog.Site{Name: fmt.Sprintf("s-%d", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "--max-txn-ops") {
		t.Errorf("a change that is too large: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	wrong := outsideOptions(s, t.TempDir(), "proxy-2")
	wrong.Key = bytes.Repeat([]byte{7}, catalog.KeySize)
	if _, err := catalog.Open(t.Context(), wrong); !errors.Is(err, catalog.ErrWrongKey) || !strings.Contains(err.Error(), "copy that of another proxy") {
		t.Errorf("another key: %v", err)
	}
	embedded := catalog.Options{Dir: o.Dir, Name: "proxy-1", Key: key}
	if _, err := catalog.Open(t.Context(), embedded); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("the embedded store where an outside one was: %v", err)
	}
	other := outsideOptions(s, o.Dir, "proxy-1")
	other.Outside.Prefix = "elsewhere/"
	if _, err := catalog.Open(t.Context(), other); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("an empty prefix where there was a cluster: %v", err)
	}
	own := t.TempDir()
	embedded.Dir = own
	e, err := catalog.Open(t.Context(), embedded)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Open(t.Context(), outsideOptions(s, own, "proxy-1")); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("an outside etcd where the embedded store was: %v", err)
	}
	s.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := catalog.Open(ctx, outsideOptions(s, t.TempDir(), "proxy-3")); err == nil {
		t.Error("a first start without an etcd")
	}
}

// A file of what was remembered that is damaged is not believed.
func TestDamagedMemoryIsNotBelieved(t *testing.T) {
	s := etcdtest.Start(t, manyOps)
	o := outsideOptions(s, t.TempDir(), "proxy-1")
	if err := openOutside(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	path := filepath.Join(o.Dir, "remembered")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range [][]byte{data[:len(data)-1], append(bytes.Clone(data[:50]), data[51:]...), nil} {
		if err := os.WriteFile(path, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if c, err := catalog.Open(ctx, o); err == nil {
			_ = c.Close()
			t.Errorf("%d of %d bytes were believed", len(damage), len(data))
		}
		cancel()
	}
}
