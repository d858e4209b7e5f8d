package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"portico/membership/catalog/store"
)

func openTest(t *testing.T) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), Options{Dir: t.TempDir(), Name: "proxy-1", Key: make([]byte, KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A proxy that has been away longer than the store remembers reads everything
// anew instead of stopping.
func TestFollowAfterCompaction(t *testing.T) {
	c := openTest(t)
	for i := range 20 {
		if _, err := c.Update(t.Context(), func(tx *Tx) error { return tx.PutSite(Site{Name: fmt.Sprintf("s-%d", i)}) }); err != nil {
			t.Fatal(err)
		}
	}
	now := c.View().Revision
	if err := c.store.Load().ForgetHistory(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	// A second follower of the same store, whose view is from long ago.
	late := &Catalog{sealer: c.sealer, logger: slog.New(slog.DiscardHandler), waiters: map[*waiter]struct{}{}, subs: map[chan struct{}]struct{}{}}
	late.store.Store(c.store.Load())
	late.ctx, late.cancel = context.WithCancel(t.Context())
	old := emptyView()
	old.Revision = 1
	late.view.Store(old)
	changed, cancel := late.Subscribe()
	defer cancel()
	late.wg.Go(func() { late.follow(late.ctx) })
	defer late.wg.Wait()
	defer late.cancel()
	v, err := late.Wait(t.Context(), now)
	if err != nil || len(v.Sites) != 20 {
		t.Fatal(len(v.Sites), err)
	}
	<-changed
	rev, err := c.Update(t.Context(), func(tx *Tx) error { return tx.PutSite(Site{Name: "after"}) })
	if err != nil {
		t.Fatal(err)
	}
	if v, err := late.Wait(t.Context(), rev); err != nil || v.Sites["after"] == nil {
		t.Error("it does not follow after it has read anew:", err)
	}
}

// Views built step by step equal one that is read whole.
func TestViewsFromEventsEqualViewsFromScratch(t *testing.T) {
	c := openTest(t)
	d := strings.Repeat("1", 64)
	for i := range 60 {
		_, err := c.Update(t.Context(), func(tx *Tx) error {
			site := fmt.Sprintf("s-%d", i%7)
			if i%5 == 4 {
				tx.DeleteSite(site)
				tx.DeleteRelease(site, d)
				return nil
			}
			return errors.Join(tx.PutSite(Site{Name: site, Deploy: fmt.Sprint(i)}), tx.PutRelease(Release{Site: site, Digest: d, Files: i}),
				tx.PutDeploy(Deploy{ID: fmt.Sprintf("d%03d", i)}), tx.PutAccount(Account{Name: site}), tx.PutSecret("x", []byte(site)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	whole, err := c.load(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if v := c.View(); !reflect.DeepEqual(v, whole) {
		t.Errorf("views differ:\n%+v\n%+v", v, whole)
	}
}

// A view that has been handed out never changes.
func TestViewsAreImmutable(t *testing.T) {
	b := newBuilder(emptyView(), nil)
	put := func(b *builder, key string, r any) {
		value, err := encode(key, r)
		if err == nil {
			err = b.put(store.Item{Key: key, Value: value, Revision: 1})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(b, "sites/a", Site{Name: "a"})
	put(b, "releases/a/1", Release{Digest: "1"})
	put(b, "deploys/1", Deploy{ID: "1"})
	first := b.finish(1)
	b = newBuilder(first, nil)
	b.del("sites/a")
	b.del("releases/a/1")
	put(b, "releases/b/2", Release{Digest: "2"})
	put(b, "deploys/2", Deploy{ID: "2"})
	second := b.finish(2)
	if first.Sites["a"] == nil || first.Releases["a"]["1"] == nil || first.Releases["b"] != nil || len(first.Deploys) != 1 || first.Revision != 1 {
		t.Errorf("the first view has changed: %+v", first)
	}
	if len(second.Sites) != 0 || second.Releases["a"] != nil || second.Releases["b"]["2"] == nil || second.Deploys[0].ID != "2" {
		t.Errorf("%+v", second)
	}
}

func TestAuditIsTrimmed(t *testing.T) {
	c := openTest(t)
	const more = 300
	for i := 0; i < auditKeep+more; i += 1000 {
		var ops []store.Op
		for j := i; j < min(i+1000, auditKeep+more); j++ {
			key := fmt.Sprintf("%s%06d", preAudit, j)
			value, err := encode(key, AuditEntry{ID: fmt.Sprintf("%06d", j)})
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, store.Put(key, value))
		}
		if _, _, err := c.store.Load().Transact(t.Context(), nil, ops); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.trimAudit(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := c.Audit(t.Context(), 0)
	if err != nil || len(got) != auditKeep || got[len(got)-1].ID != fmt.Sprintf("%06d", more) {
		t.Error(len(got), err)
	}
}

// A secret opens under its own name only, and only whole.
func TestSealedSecretsCannotBeMoved(t *testing.T) {
	s, err := newSealer(make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed := s.seal("ca", []byte("hush"))
	if plain, err := s.open("ca", sealed); err != nil || string(plain) != "hush" {
		t.Fatal(plain, err)
	}
	if _, err := s.open("session", sealed); !errors.Is(err, ErrCorrupt) {
		t.Error("under another name:", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := s.open("ca", bad); err == nil {
			t.Errorf("byte %d changed and it opened", i)
		}
		if _, err := s.open("ca", sealed[:i]); err == nil {
			t.Errorf("cut to %d bytes and it opened", i)
		}
	}
	if bytes.Equal(sealed, s.seal("ca", []byte("hush"))) {
		t.Error("two seals of one secret are equal")
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range []any{Site{Name: "a", Override: json.RawMessage(`{}`)}, Member{Name: "m"}, Deploy{ID: "1"}, nil} {
		value, err := encode("sites/a", r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Add([]byte("{}\n00000000"))
	f.Fuzz(func(t *testing.T, value []byte) {
		b := newBuilder(emptyView(), nil)
		for _, key := range []string{"sites/a", "releases/a", "releases/a/b/c", "deploys/", "members/x", "instances/x", "settings", "secrets/x", "unknown", ""} {
			before := *b.v
			if err := b.put(store.Item{Key: key, Value: value, Revision: 1}); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrWrongKey) {
				t.Errorf("%s: %v", key, err)
			} else if err != nil && !reflect.DeepEqual(before, *b.v) {
				t.Errorf("%s: a refused record changed the view", key)
			}
			b.del(key)
		}
		b.finish(1)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add("sites/a", []byte(`{"name":"a"}`), uint16(3))
	f.Fuzz(func(t *testing.T, key string, data []byte, at uint16) {
		value := sum(key, data)
		got, err := unsum(key, value)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatal(err)
		}
		value[int(at)%len(value)] ^= 1
		if _, err := unsum(key, value); err == nil {
			t.Error("a flipped bit was not found")
		}
		if _, err := unsum(key+"x", sum(key, data)); err == nil {
			t.Error("a record was taken under another key")
		}
	})
}
