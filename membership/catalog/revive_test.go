package catalog_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"portico/membership/catalog"
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
