package sites_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"portico/conf/sites"
)

var badNames = []string{
	"", ".", "..", "-rf", "shop-", "con", "nul", "com1", "Shop", "shop.example", "a/b", `a\b`, "a b", "a\x00b", "a\nb",
	"ѕhop", "shóp", "ｓhop", "shop\u200b", strings.Repeat("a", 41), strings.Repeat("a", 300), "a_b", "$(id)", "'", "%2e%2e",
}

func TestValidName(t *testing.T) {
	for _, n := range badNames {
		err := sites.ValidName("site", n)
		if !errors.Is(err, sites.ErrInvalid) {
			t.Errorf("%q: %v", n, err)
		}
		if err != nil && (strings.ContainsAny(err.Error(), "\x00\n") || len(err.Error()) > 400) {
			t.Errorf("%q: the error itself is unsafe: %q", n, err)
		}
	}
	for _, n := range []string{"a", "0", "shop", "shop-2", "a--b", strings.Repeat("a", 40), "console", "com10"} {
		if err := sites.ValidName("site", n); err != nil {
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
		err := sites.ValidName("site", n)
		if err == nil && (len(n) == 0 || len(n) > 40 || n != strings.ToLower(n) || !utf8.ValidString(n) || strings.ContainsAny(n, "./\\ :*?\"<>|$`'\x00") || n[0] == '-') {
			t.Errorf("%q was taken", n)
		}
	})
}
