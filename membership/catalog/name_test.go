package catalog_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
)

func TestIDs(t *testing.T) {
	now := time.UnixMilli(1790000000000)
	var ids []string
	for i := range 100 {
		ids = append(ids, catalog.NewID(now.Add(time.Duration(i)*time.Millisecond)))
	}
	if !slices.IsSorted(ids) || len(ids[0]) != 26 {
		t.Error("ids do not sort by time:", ids[:3])
	}
	a, b := catalog.NewInstanceID(), catalog.NewInstanceID()
	if a == b || catalog.ValidInstanceID(a) != nil || catalog.ValidInstanceID(b) != nil {
		t.Error(a, b)
	}
	for _, bad := range []string{"", a[1:], a + "a", strings.ToUpper(a), "../" + a[3:], strings.Repeat("0", 26)} {
		if catalog.ValidInstanceID(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if catalog.ValidDigest(strings.Repeat("a", 64)) != nil || catalog.ValidDigest(strings.Repeat("A", 64)) == nil || catalog.ValidDigest("..") == nil {
		t.Error("digests")
	}
}
