package catalog_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
)

func TestBackupAndRestore(t *testing.T) {
	c := open(t, t.TempDir())
	update(t, c, func(tx *catalog.Tx) error {
		return errors.Join(tx.PutSite(catalog.Site{Name: "shop"}), tx.PutSecret("ca", []byte("very secret")))
	})
	if err := c.Storage().Put(t.Context(), "certs/shop/key", []byte("private key")); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if err := c.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"very secret", "private key"} {
		if bytes.Contains(backup.Bytes(), []byte(secret)) {
			t.Errorf("the backup shows %q", secret)
		}
	}
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "later"}) })
	before := c.View()

	dir := filepath.Join(t.TempDir(), "new")
	info, err := catalog.Restore(t.Context(), bytes.NewReader(backup.Bytes()), catalog.Options{Dir: dir, Name: "proxy-9", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if info.Cluster != before.ClusterID || info.Proxy != "proxy-1" || time.Since(info.Created) > time.Minute {
		t.Errorf("%+v", info)
	}
	r, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-9", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	v := r.View()
	if v.ClusterID != before.ClusterID || len(v.Sites) != 1 || v.Sites["shop"] == nil {
		t.Errorf("restored: cluster %q, sites %v", v.ClusterID, v.Sites)
	}
	if v.Revision <= before.Revision {
		t.Errorf("the revision went back from %d to %d", before.Revision, v.Revision)
	}
	if s, err := r.Secret("ca"); err != nil || string(s) != "very secret" {
		t.Errorf("secret %q, %v", s, err)
	}
	if s, err := r.Storage().Get(t.Context(), "certs/shop/key"); err != nil || string(s) != "private key" {
		t.Errorf("stored %q, %v", s, err)
	}
	update(t, r, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "after"}) })
}

func TestRestoreRefuses(t *testing.T) {
	c := open(t, t.TempDir())
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSecret("ca", []byte("very secret")) })
	var b bytes.Buffer
	if err := c.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 4
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		data   []byte
		dir    string
		want   error
		remedy string
		key    []byte
	}{
		{"another key", good, "", catalog.ErrWrongKey, "identity/catalog.key of proxy-1", bytes.Repeat([]byte{1}, catalog.KeySize)},
		{"no key", good, "", catalog.ErrInvalid, "it needs 32", []byte{1}},
		{"empty", nil, "", catalog.ErrInvalid, "not a backup", key},
		{"another file", []byte(strings.Repeat("PK\x03\x04", 100)), "", catalog.ErrInvalid, "not a backup", key},
		{"head only", good[:100], "", catalog.ErrCorrupt, "", key},
		{"cut off", good[:len(good)-40], "", catalog.ErrCorrupt, "", key},
		{"flipped bit", flipped, "", catalog.ErrCorrupt, "", key},
		{"full directory", good, full, catalog.ErrExists, "precious", key},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tt.dir
			if dir == "" {
				dir = t.TempDir()
			}
			_, err := catalog.Restore(t.Context(), bytes.NewReader(tt.data), catalog.Options{Dir: dir, Name: "proxy-1", Key: tt.key})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.remedy) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if left, _ := os.ReadDir(dir); tt.dir == "" && len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// update changes the catalog or ends the test.
func update(t testing.TB, c *catalog.Catalog, change func(tx *catalog.Tx) error) int64 {
	t.Helper()
	rev, err := c.Update(t.Context(), change)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}
