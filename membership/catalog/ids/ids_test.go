package ids_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog/ids"
)

func TestIDs(t *testing.T) {
	now := time.UnixMilli(1790000000000)
	var list []string
	for i := range 100 {
		list = append(list, ids.New(now.Add(time.Duration(i)*time.Millisecond)))
	}
	if !slices.IsSorted(list) || len(list[0]) != 26 {
		t.Error("ids do not sort by time:", list[:3])
	}
	a, b := ids.NewInstance(), ids.NewInstance()
	if a == b || ids.ValidInstance(a) != nil || ids.ValidInstance(b) != nil {
		t.Error(a, b)
	}
	for _, bad := range []string{"", a[1:], a + "a", strings.ToUpper(a), "../" + a[3:], strings.Repeat("0", 26)} {
		if ids.ValidInstance(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if ids.ValidDigest(strings.Repeat("a", 64)) != nil || ids.ValidDigest(strings.Repeat("A", 64)) == nil || ids.ValidDigest("..") == nil {
		t.Error("digests")
	}
}

func TestReleaseNames(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for id, valid := range map[string]bool{digest: true, digest + "-1": true, digest + "-0": false, digest + "-01": false, digest + "-": false, digest + "-x": false, digest + "/..": false, "ab": false} {
		if err := ids.ValidRelease(id); (err == nil) != valid {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := ids.ShortRelease(digest + "-12"); got != "abababababab-12" {
		t.Errorf("got %s", got)
	}
	if !ids.NamesRelease("ababab", digest+"-2") || !ids.NamesRelease("ababab-2", digest+"-2") || ids.NamesRelease("ababab-1", digest+"-2") || ids.NamesRelease("ac", digest) {
		t.Error("the wrong releases are named")
	}
}
