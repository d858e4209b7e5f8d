package folders

import (
	"strings"
	"testing"
)

func TestSafeName(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", `a\b`, "../x", "a\x00b", "C:", strings.Repeat("x", 300)} {
		if SafeName(bad) == nil {
			t.Errorf("%q is taken for a site name", bad)
		}
	}
	if err := SafeName("shop-1"); err != nil {
		t.Error(err)
	}
}
