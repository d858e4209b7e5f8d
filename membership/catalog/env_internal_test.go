package catalog

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portico/conf/sites"
	"portico/membership/catalog/store"
)

// The values of a site's environment, from its archive and from operators, lay in the clear
// in the store's files and in every backup. They are sealed; views, changes and a restart
// have them as before.
func TestEnvironmentsAreSealedAtRest(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Name: "proxy-1", Key: bytes.Repeat([]byte{7}, KeySize)}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	site := Site{
		Name: "shop", Release: digestOf("1"), Manifest: sites.Settings{Front: sites.Front{Policy: "random"}, Env: map[string]string{"PASSWORD": "manifest-secret-1"}},
		Override: json.RawMessage(`{"env":{"KEY":"override-secret-2"},"policy":"first"}`),
	}
	release := Release{Site: "shop", Digest: digestOf("1"), Manifest: site.Manifest}
	bare := Site{Name: "bare", Override: json.RawMessage(`{"env":{"KEY":"override-secret-3"}}`)}
	_, err = c.Update(t.Context(), func(tx *Tx) error {
		for _, err := range []error{tx.PutSite(site), tx.PutSite(bare), tx.PutRelease(release)} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		got := c.View().Sites["shop"]
		if set, err := got.Effective(); err != nil || set.Env["PASSWORD"] != "manifest-secret-1" || set.Env["KEY"] != "override-secret-2" || set.Policy != "first" || got.Sealed != nil {
			t.Errorf("%+v %v", got, err)
		}
		if got := c.View().Releases["shop"][digestOf("1")]; got.Manifest.Env["PASSWORD"] != "manifest-secret-1" || got.Sealed != nil {
			t.Errorf("%+v", got)
		}
		if got := string(c.View().Sites["bare"].Override); got != `{"env":{"KEY":"override-secret-3"}}` {
			t.Error(got)
		}
	}
	check()
	before := c.View().Revision
	if now, err := c.Update(t.Context(), func(tx *Tx) error { return tx.PutSite(*c.View().Sites["shop"]) }); err != nil || now != before {
		t.Errorf("a record that has not changed was written: %d, %d, %v", before, now, err)
	}
	var backup bytes.Buffer
	if err := c.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(backup.Bytes(), []byte("-secret-")) {
		t.Error("the backup holds a value in the clear")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	holdsNone(t, dir, "-secret-")
	if c, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	check()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func holdsNone(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("%s holds a value in the clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A catalog that an earlier version filled has its environments in the clear, in the audit
// too. The first start seals them, and a backup has neither them nor the history.
func TestEnvironmentsOfEarlierVersionsAreSealed(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Name: "proxy-1", Key: bytes.Repeat([]byte{7}, KeySize)}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	settings := c.View().Settings
	settings.EnvSealed = false
	ops := []store.Op{}
	for key, r := range map[string]any{
		"settings":                       settings,
		"sites/shop":                     Site{Name: "shop", Override: json.RawMessage(`{"env":{"KEY":"clear-secret-1"}}`)},
		"releases/shop/" + digestOf("1"): Release{Site: "shop", Digest: digestOf("1"), Manifest: sites.Settings{Env: map[string]string{"A": "clear-secret-2"}}},
		"audit/a1":                       AuditEntry{ID: "a1", Action: "set site", Object: "shop", Detail: `{"env":{"KEY":"clear-secret-1"},"policy":"first"}`},
		"audit/a2":                       AuditEntry{ID: "a2", Action: "set site", Object: "shop", Detail: `{"env":{"KEY":"clear-secret-3…`},
	} {
		value, err := encode(key, r)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, store.Put(key, value))
	}
	if _, _, err := c.store.Load().Transact(t.Context(), nil, ops); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got := c.View().Sites["shop"]; string(got.Override) != `{"env":{"KEY":"clear-secret-1"}}` || len(c.View().clear) != 0 || !c.View().Settings.EnvSealed {
		t.Errorf("%s, in the clear: %v", got.Override, c.View().clear)
	}
	entries, err := c.Audit(t.Context(), 0)
	if err != nil || len(entries) != 2 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if strings.Contains(e.Detail, "secret") {
			t.Errorf("the audit still says %s", e.Detail)
		}
	}
	var backup bytes.Buffer
	if err := c.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(backup.Bytes(), []byte("clear-secret")) {
		t.Error("the backup holds a value in the clear")
	}
}

func digestOf(c string) string { return strings.Repeat(c, 64) }
