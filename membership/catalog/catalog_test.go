package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

var clock = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

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
	c := open(t, t.TempDir())
	if c.View().ClusterID == "" {
		t.Fatal("a new catalog has no cluster id")
	}
	changed, cancel := c.Subscribe()
	defer cancel()
	for range 20 {
		name := "site-" + ids.New(time.Now())[13:]
		rev := update(t, c, func(tx *catalog.Tx) error {
			if _, err := tx.Site(name); !errors.Is(err, catalog.ErrNotFound) {
				return fmt.Errorf("site before it is written: %w", err)
			}
			return tx.PutSite(catalog.Site{Name: name})
		})
		if v := c.View(); v.Sites[name] == nil || v.Revision < rev {
			t.Fatalf("revision %d of the view lacks the site written at %d", v.Revision, rev)
		}
		<-changed
	}
}

func TestUpdateReadsItsOwnWrites(t *testing.T) {
	c := open(t, t.TempDir())
	update(t, c, func(tx *catalog.Tx) error {
		return errors.Join(tx.PutSite(catalog.Site{Name: "a"}), tx.PutSite(catalog.Site{Name: "b"}))
	})
	update(t, c, func(tx *catalog.Tx) error {
		tx.DeleteSite("a")
		if err := tx.PutSite(catalog.Site{Name: "c"}); err != nil {
			return err
		}
		if _, err := tx.Site("a"); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("deleted site: %v", err)
		}
		var names []string
		for _, s := range tx.Sites() {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, []string{"b", "c"}) {
			t.Errorf("sites %v", names)
		}
		return nil
	})
	if v := c.View(); v.Sites["a"] != nil || v.Sites["b"] == nil || v.Sites["c"] == nil {
		t.Error(v.Sites)
	}
}

// A change that fails, or that writes what is there already, leaves no trace.
func TestNothingIsWrittenInVain(t *testing.T) {
	c := open(t, t.TempDir())
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "a"}) })
	before := c.View()
	oops := errors.New("oops")
	for _, change := range []func(tx *catalog.Tx) error{
		func(tx *catalog.Tx) error { return errors.Join(tx.PutSite(catalog.Site{Name: "b"}), oops) },
		func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "../b"}) },
		func(tx *catalog.Tx) error {
			return tx.PutSite(catalog.Site{Name: "b", Deploy: strings.Repeat("x", 1<<16)})
		},
		func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "a"}) },
		func(tx *catalog.Tx) error { tx.DeleteSite("b"); return nil },
		func(tx *catalog.Tx) error { return nil },
	} {
		_, _ = c.Update(t.Context(), change)
	}
	if c.View() != before {
		t.Errorf("the view moved from revision %d to %d", before.Revision, c.View().Revision)
	}
	if _, err := c.Update(t.Context(), func(tx *catalog.Tx) error { return oops }); err != oops {
		t.Errorf("the error of a change came back as %v", err)
	}
}

// What a change does to the records that it was handed must not reach the view.
func TestRecordsAreCopies(t *testing.T) {
	c := open(t, t.TempDir())
	site := catalog.Site{Name: "a", Retiring: []catalog.Retiring{{Release: "1"}}, Manifest: sites.Settings{Front: sites.Front{Hosts: []string{"a.example.com"}}, Env: map[string]string{"A": "1"}}}
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSite(site) })
	_, _ = c.Update(t.Context(), func(tx *catalog.Tx) error {
		for _, s := range tx.Sites() {
			s.Retiring[0].Release, s.Manifest.Hosts[0], s.Manifest.Env["A"] = "2", "evil", "2"
		}
		s, _ := tx.Site("a")
		s.Retiring[0].Release, s.Manifest.Hosts[0], s.Manifest.Env["A"] = "2", "evil", "2"
		return errors.New("stop")
	})
	if got := *c.View().Sites["a"]; !reflect.DeepEqual(got, site) {
		t.Errorf("%+v", got)
	}
}

// Many writers that count in one record lose no count: each reads what the one
// before it wrote.
func TestConflictingUpdatesLoseNothing(t *testing.T) {
	c := open(t, t.TempDir())
	const writers, each = 12, 15
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if _, err := c.Update(t.Context(), func(tx *catalog.Tx) error {
					m, err := tx.Member("web-1")
					if errors.Is(err, catalog.ErrNotFound) {
						m = catalog.Member{Name: "web-1"}
					} else if err != nil {
						return err
					}
					m.Weight++
					return tx.PutMember(m)
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := c.View().Members["web-1"].Weight; got != writers*each {
		t.Errorf("counted to %d, want %d", got, writers*each)
	}
}

// A change that read a whole collection must not miss what others add to it: of
// those who each want to be the only one, one wins.
func TestNoPhantoms(t *testing.T) {
	c := open(t, t.TempDir())
	for round := range 10 {
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				_, err := c.Update(t.Context(), func(tx *catalog.Tx) error {
					for _, s := range tx.Sites() {
						if s.Deploy == fmt.Sprint(round) {
							return catalog.ErrExists
						}
					}
					return tx.PutSite(catalog.Site{Name: fmt.Sprintf("s-%d-%d", round, i), Deploy: fmt.Sprint(round)})
				})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, catalog.ErrExists) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d won", round, won.Load())
		}
	}
}

// Views are whole: two records that always change together are never seen apart.
func TestViewsNeverShowHalfAChange(t *testing.T) {
	c := open(t, t.TempDir())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := int64(0); ; {
			select {
			case <-stop:
				return
			default:
			}
			v := c.View()
			a, b := v.Sites["a"], v.Sites["b"]
			if (a == nil) != (b == nil) || (a != nil && a.Deploy != b.Deploy) {
				t.Errorf("revision %d shows half a change", v.Revision)
				return
			}
			if v.Revision < n {
				t.Errorf("revision went back from %d to %d", n, v.Revision)
				return
			}
			n = v.Revision
		}
	})
	for i := range 100 {
		update(t, c, func(tx *catalog.Tx) error {
			return errors.Join(tx.PutSite(catalog.Site{Name: "a", Deploy: fmt.Sprint(i)}), tx.PutSite(catalog.Site{Name: "b", Deploy: fmt.Sprint(i)}))
		})
	}
	close(stop)
	wg.Wait()
}

func TestWaitAndClose(t *testing.T) {
	c := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Wait(ctx, c.View().Revision+1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	waited := make(chan error, 1)
	next := c.View().Revision + 1
	go func() {
		_, err := c.Wait(t.Context(), next)
		waited <- err
	}()
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "a"}) })
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error("second close:", err)
	}
	if _, err := c.Update(t.Context(), func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "b"}) }); !errors.Is(err, catalog.ErrClosed) {
		t.Error("update after close:", err)
	}
	if c.View().Sites["a"] == nil {
		t.Error("the view is gone after close")
	}
}

func TestLockIsMutualExclusion(t *testing.T) {
	c := open(t, t.TempDir())
	inside, most := 0, 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				unlock, err := c.Lock(t.Context(), "job")
				if err != nil {
					t.Error(err)
					return
				}
				inside++ // the race detector watches
				most = max(most, inside)
				inside--
				unlock()
				unlock()
			}
		})
	}
	wg.Wait()
	if most != 1 {
		t.Errorf("%d had the lock at once", most)
	}
	unlock, err := c.Lock(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Lock(ctx, "job"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: %v", err)
	}
	other, err := c.Lock(t.Context(), "another")
	if err != nil {
		t.Fatal(err)
	}
	other()
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	if _, err := c.Secret("ca"); !errors.Is(err, catalog.ErrNotFound) {
		t.Error(err)
	}
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSecret("ca", []byte("hush")) })
	rev := c.View().SecretRevision("ca")
	if s, err := c.Secret("ca"); err != nil || string(s) != "hush" || rev == 0 {
		t.Errorf("%q %v, revision %d", s, err, rev)
	}
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSecret("ca", []byte("hush")) })
	if c.View().SecretRevision("ca") != rev {
		t.Error("the same secret was written again")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Repeat([]byte{1}, catalog.KeySize)
	if _, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: wrong}); !errors.Is(err, catalog.ErrWrongKey) {
		t.Errorf("wrong key: %v", err)
	}
	if _, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: nil}); !errors.Is(err, catalog.ErrInvalid) {
		t.Errorf("no key: %v", err)
	}
	if s, err := open(t, dir).Secret("ca"); err != nil || string(s) != "hush" {
		t.Errorf("after restart: %q %v", s, err)
	}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("hush")) {
			t.Errorf("%s shows the secret", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestStorage(t *testing.T) {
	c := open(t, t.TempDir())
	s := c.Storage()
	ctx := t.Context()
	for _, k := range []string{"acme/ca/users/a/key", "acme/ca/users/b/key", "acme/ca/sites/x", "acme/ca/sites2", "last"} {
		if err := s.Put(ctx, k, []byte(k)); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := s.Get(ctx, "last"); err != nil || string(v) != "last" {
		t.Errorf("%q %v", v, err)
	}
	if _, err := s.Get(ctx, "nothing"); !errors.Is(err, catalog.ErrNotFound) {
		t.Error(err)
	}
	for _, tt := range []struct {
		folder    string
		recursive bool
		want      []string
	}{
		{"acme/ca", false, []string{"acme/ca/sites", "acme/ca/sites2", "acme/ca/users"}},
		{"acme/ca/users", true, []string{"acme/ca/users/a/key", "acme/ca/users/b/key"}},
		{"", false, []string{"acme", "last"}},
		{"nothing", true, nil},
	} {
		if got, err := s.List(ctx, tt.folder, tt.recursive); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("List(%q, %v) = %v, %v", tt.folder, tt.recursive, got, err)
		}
	}
	if i, err := s.Stat(ctx, "last"); err != nil || !i.Terminal || i.Size != 4 || time.Since(i.Modified) > time.Minute {
		t.Errorf("%+v %v", i, err)
	}
	if i, err := s.Stat(ctx, "acme/ca"); err != nil || i.Terminal {
		t.Errorf("%+v %v", i, err)
	}
	if _, err := s.Stat(ctx, "acme/c"); !errors.Is(err, catalog.ErrNotFound) {
		t.Error(err)
	}
	if err := errors.Join(s.Delete(ctx, "acme/ca/sites"), s.Delete(ctx, "nothing")); err != nil {
		t.Error(err)
	}
	if got, err := s.List(ctx, "acme/ca", false); err != nil || !slices.Equal(got, []string{"acme/ca/sites2", "acme/ca/users"}) {
		t.Errorf("after delete: %v %v", got, err)
	}
	if err := s.Put(ctx, "", nil); !errors.Is(err, catalog.ErrInvalid) {
		t.Error(err)
	}
}

// The newest entries come first, also of those that were made within one millisecond.
func TestAudit(t *testing.T) {
	for _, step := range []time.Duration{time.Millisecond, time.Microsecond} {
		c := open(t, t.TempDir())
		const count = 10
		for i := range count {
			now := clock.Add(time.Duration(i) * step)
			update(t, c, func(tx *catalog.Tx) error {
				return tx.Audit(catalog.AuditEntry{ID: fmt.Sprintf("%s-%d", ids.New(now), i), At: now, Action: fmt.Sprint(i)})
			})
		}
		limit := count
		if step == time.Millisecond {
			limit = 2 // the key tells these apart
		}
		got, err := c.Audit(t.Context(), limit)
		if err != nil || len(got) != limit {
			t.Fatalf("%d entries, %v", len(got), err)
		}
		for i, e := range got {
			if e.Action != fmt.Sprint(count-1-i) {
				t.Errorf("every %v: entry %d of the list is %s", step, i, e.Action)
			}
		}
	}
}
