package catalog_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/membership/catalog/store"
)

// TestOpensAgainAfterAWant: a catalog that could not open the next file of its log for want of descriptors refuses changes and says that it
// will open by itself. Once there are descriptors it does, again and again, with everything that it has acknowledged.
func TestOpensAgainAfterAWant(t *testing.T) {
	if !canLimitFiles {
		t.Skip("the number of descriptors cannot be limited here")
	}
	dir := t.TempDir()
	c := startChild(t, "starve", dir)
	last := 0
	for _, want := range []string{
		"open",
		"refused", "still", "wrote", "locked <nil>",
		"refused", "still", "wrote", "locked <nil>",
	} {
		l := c.line()
		t.Log(l)
		if !strings.HasPrefix(l, want) ||
			want == "refused" && (!strings.Contains(l, " true ") || !strings.Contains(l, "too many open files")) ||
			want == "still" && !strings.Contains(l, catalog.ErrPassing.Error()) ||
			want == "wrote" && !strings.HasSuffix(l, "<nil> true") {
			t.Fatalf("it says %q, want %s", l, want)
		}
		if want == "wrote" {
			last, _ = strconv.Atoi(strings.Fields(l)[1])
		}
	}
	c.kill()
	v := open(t, dir).View()
	for i := range last + 1 {
		if v.Sites[fmt.Sprintf("site-%d", i)] == nil {
			t.Errorf("site-%d of %d acknowledged ones is lost", i, last+1)
		}
	}
}

// TestFailedReopenLeavesFilesOpen: etcd gives nobody what it has opened when a want of descriptors ends its start. Nothing can close that
// in the same process, where the next attempt took the locked files for damaged ones. It says that a restart is what helps, no other
// process gets at the files before, and after it everything is there.
func TestFailedReopenLeavesFilesOpen(t *testing.T) {
	if !canLimitFiles {
		t.Skip("the number of descriptors cannot be limited here")
	}
	dir := t.TempDir()
	c := startChild(t, "resume", dir)
	for _, want := range []string{"open", "wrote <nil>", "first", "second", "suspend", "broken true true"} {
		l := c.line()
		t.Log(l)
		if !strings.HasPrefix(l, want) || strings.Contains(l, "is damaged") || strings.Contains(l, "restore a backup") ||
			want == "first" && !strings.Contains(l, "too many open files") ||
			(want == "first" || want == "second" || want == "suspend") && !strings.Contains(l, store.ErrStuck.Error()) {
			t.Fatalf("it says %q, want %s", l, want)
		}
	}
	if other, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: key}); !errors.Is(err, catalog.ErrLocked) {
		if err == nil {
			_ = other.Close()
		}
		t.Errorf("another process opens it meanwhile: %v", err)
	}
	c.kill()
	if v := open(t, dir).View(); v.Sites["a"] == nil {
		t.Error("what was acknowledged is lost")
	}
}
