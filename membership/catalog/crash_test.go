package catalog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/tests/support/race"
)

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	other := startChild(t, "hold", dir)
	if l := other.line(); l != "open" {
		t.Fatal(l)
	}
	_, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: key})
	if !errors.Is(err, catalog.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	other.kill()
	open(t, dir)
	if _, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: key}); !errors.Is(err, catalog.ErrLocked) {
		t.Errorf("same process: %v", err)
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]bool{}
	for round := range 3 {
		c := startChild(t, "write", dir)
		if l := c.line(); l != "open" {
			t.Fatal(l)
		}
		for range 40 + 30*round {
			name, ok := strings.CutPrefix(c.line(), "wrote ")
			if !ok {
				t.Fatal("the child stopped writing")
			}
			acked[name] = true
		}
		c.kill()
		for { // what it said before it died counts
			name, ok := strings.CutPrefix(c.line(), "wrote ")
			if !ok {
				break
			}
			acked[name] = true
		}
	}
	v := open(t, dir).View()
	for name := range acked {
		if v.Sites[name] == nil {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	t.Logf("%d acknowledged writes, %d sites", len(acked), len(v.Sites))
}

// Killed at any moment of its very first start, a catalog still starts.
func TestKillDuringFirstStart(t *testing.T) {
	for i := range 12 {
		dir := t.TempDir()
		c := startChild(t, "hold", dir)
		etcd := filepath.Join(dir, "etcd", "member")
		wait := []string{etcd, filepath.Join(etcd, "snap", "db"), filepath.Join(etcd, "wal", "0000000000000000-0000000000000000.wal")}[i%3]
		for {
			if _, err := os.Stat(wait); err == nil {
				break
			}
			time.Sleep(time.Millisecond) // the moment of the kill is what varies
		}
		time.Sleep(time.Duration(i*i) * time.Millisecond)
		c.kill()
		update(t, open(t, dir), func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "a"}) })
	}
}

// A first start that a full disk cut short is neither called damage nor in the
// way once there is room.
func TestFirstStartCutShort(t *testing.T) {
	if !canLimitFileSize {
		t.Skip("the size of files cannot be limited here")
	}
	dir := t.TempDir()
	c := startChild(t, "tiny", dir)
	if l := c.line(); !strings.HasPrefix(l, "error ") || strings.Contains(l, catalog.ErrCorrupt.Error()) || !strings.Contains(l, "make room") {
		t.Errorf("it says %q", l)
	}
	c.kill()
	open(t, dir)
}

// A lock does not outlive its owner, and the catalog opens at once after a kill.
func TestLockOfADeadProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a lease to run out")
	}
	dir := t.TempDir()
	other := startChild(t, "lock", dir)
	if a, b := other.line(), other.line(); a != "open" || b != "locked" {
		t.Fatal(a, b)
	}
	other.kill()
	c := open(t, dir)
	unlock, err := c.Lock(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestFullDisk(t *testing.T) {
	if !canLimitFileSize {
		t.Skip("the size of files cannot be limited here")
	}
	dir := t.TempDir()
	c := startChild(t, "fill", dir)
	wrote := 0
	for {
		l := c.line()
		if strings.HasPrefix(l, "wrote ") {
			wrote++
			continue
		}
		if l == "open" {
			continue
		}
		if !strings.HasPrefix(l, "refused ") || !strings.Contains(l, catalog.ErrBroken.Error()) || !strings.Contains(l, "file too large") {
			t.Errorf("it says %q", l)
		}
		break
	}
	for _, want := range []string{"view true true", "again true"} {
		if l := c.line(); l != want {
			t.Errorf("it says %q, want %q", l, want)
		}
	}
	c.kill()
	v := open(t, dir).View()
	for i := range wrote {
		if v.Sites[fmt.Sprintf("site-%d", i)] == nil {
			t.Errorf("site-%d of %d acknowledged ones is lost", i, wrote)
		}
	}
	t.Logf("%d writes until the disk was full", wrote)
}

// filled returns a closed catalog with a hundred sites, and their marker.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	c := open(t, dir)
	for i := range 100 {
		update(t, c, func(tx *catalog.Tx) error {
			return tx.PutSite(catalog.Site{Name: fmt.Sprintf("site-%d", i), Deploy: "marker-of-the-test"})
		})
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func file(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "etcd", "member", pattern))
	if err != nil || len(found) == 0 {
		t.Fatal(pattern, err)
	}
	return found[0]
}

// Damage is an error that names the file, never a panic, a hang or an empty
// catalog, and the files stay as they are for those who come to repair them.
func TestDamageIsRefused(t *testing.T) {
	const log, db = "wal/*.wal", "snap/db"
	flip := func(at func(data []byte) int) func([]byte) []byte {
		return func(data []byte) []byte { data[at(data)] ^= 0x10; return data }
	}
	marker := []byte("marker-of-the-test")
	for _, tt := range []struct {
		name, file string
		damage     func([]byte) []byte
	}{
		{"flipped bit in the log", log, flip(func(d []byte) int { return bytes.Index(d, marker) })},
		{"log of zeros", log, func(d []byte) []byte { return make([]byte, len(d)) }},
		{"log of noise", log, func(d []byte) []byte { return bytes.Repeat([]byte("noise"), len(d)/5) }},
		{"empty log", log, func(d []byte) []byte { return nil }},
		{"flipped bits in records", db, func(d []byte) []byte { return bytes.ReplaceAll(d, marker, []byte("marker-of-the-tesu")) }},
		{"database cut off", db, func(d []byte) []byte { return d[:16<<10] }},
		{"database of zeros", db, func(d []byte) []byte { return make([]byte, len(d)) }},
		{"empty database", db, func(d []byte) []byte { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filled(t)
			path := file(t, dir, tt.file)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := tt.damage(data)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			// In another process: a start that failed leaves some of etcd behind, until
			// the process ends.
			c := startChild(t, "hold", dir)
			said := c.line()
			c.kill()
			if !strings.HasPrefix(said, "error ") || !strings.Contains(said, catalog.ErrCorrupt.Error()) || !strings.Contains(said, "restore a backup") {
				t.Errorf("it says %q", said)
			}
			t.Log(said)
			// Etcd keeps a log that it tried to repair as it was beside it.
			after, err := os.ReadFile(path)
			kept, _ := os.ReadFile(path + ".broken")
			if err != nil || (!bytes.Equal(after, damaged) && !bytes.Equal(kept, damaged)) {
				t.Errorf("the damaged file is gone: %v", err)
			}
		})
	}
}

// What a crash leaves at the end of the log is cut off: it was never
// acknowledged.
func TestTornTailIsCut(t *testing.T) {
	dir := filled(t)
	path := file(t, dir, "wal/*.wal")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndex(data, []byte("marker-of-the-test"))
	if err := os.WriteFile(path, data[:end+5], 0o600); err != nil {
		t.Fatal(err)
	}
	// The database may be ahead of the cut log; a machine that lost its log's end
	// lost the database's end too.
	if err := os.Remove(file(t, dir, "snap/db")); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	if n := len(c.View().Sites); n != 99 {
		t.Errorf("%d sites, want the 99 before the torn one", n)
	}
	update(t, c, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "after"}) })
}

// Twelve thousand records are read and decoded within the time that a service
// manager grants; the race detector takes longer, so with it there are fewer.
func TestManyRecordsStartQuickly(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	n := 12000
	if race.Enabled {
		n = 2400
	}
	for batch := range 24 {
		update(t, c, func(tx *catalog.Tx) error {
			for i := range n / 24 {
				in := catalog.Instance{ID: ids.NewInstance(), Site: "shop", Member: fmt.Sprintf("web-%d", batch), State: catalog.InstanceHealthy, Release: strings.Repeat("a", 64), Detail: fmt.Sprint(i)}
				if err := tx.PutInstance(in); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c = open(t, dir)
	took := time.Since(start)
	if len(c.View().Instances) != n {
		t.Errorf("%d instances", len(c.View().Instances))
	}
	t.Logf("%d records: open in %s", n, took)
	if took > time.Minute {
		t.Errorf("open took %s", took)
	}
}
