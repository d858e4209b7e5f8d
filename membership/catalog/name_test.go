package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"portico/membership/catalog"
)

var badNames = []string{
	"", ".", "..", "-rf", "shop-", "con", "nul", "com1", "Shop", "shop.example", "a/b", `a\b`, "a b", "a\x00b", "a\nb",
	"ѕhop", "shóp", "ｓhop", "shop\u200b", strings.Repeat("a", 41), strings.Repeat("a", 300), "a_b", "$(id)", "'", "%2e%2e",
}

func TestValidName(t *testing.T) {
	for _, n := range badNames {
		err := catalog.ValidName("site", n)
		if !errors.Is(err, catalog.ErrInvalid) {
			t.Errorf("%q: %v", n, err)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\x00\n") || len(err.Error()) > 400) {
			t.Errorf("%q: the error itself is unsafe: %q", n, err)
		}
	}
	for _, n := range []string{"a", "0", "shop", "shop-2", "a--b", strings.Repeat("a", 40), "console", "com10"} {
		if err := catalog.ValidName("site", n); err != nil {
			t.Errorf("%q: %v", n, err)
		}
	}
}

func FuzzValidName(f *testing.F) {
	for _, n := range badNames {
		f.Add(n)
	}
	f.Add("shop-2")
	f.Fuzz(func(t *testing.T, n string) {
		err := catalog.ValidName("site", n)
		if err == nil && (len(n) == 0 || len(n) > 40 || n != strings.ToLower(n) || !utf8.ValidString(n) || strings.ContainsAny(n, "./\\ :*?\"<>|$`'\x00") || n[0] == '-') {
			t.Errorf("%q was taken", n)
		}
	})
}

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
