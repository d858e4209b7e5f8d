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

func TestReleaseNames(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for id, valid := range map[string]bool{digest: true, digest + "-1": true, digest + "-0": false, digest + "-01": false, digest + "-": false, digest + "-x": false, digest + "/..": false, "ab": false} {
		if err := catalog.ValidRelease(id); (err == nil) != valid {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := catalog.ShortRelease(digest + "-12"); got != "abababababab-12" {
		t.Errorf("got %s", got)
	}
	if !catalog.NamesRelease("ababab", digest+"-2") || !catalog.NamesRelease("ababab-2", digest+"-2") || catalog.NamesRelease("ababab-1", digest+"-2") || catalog.NamesRelease("ac", digest) {
		t.Error("the wrong releases are named")
	}
}
