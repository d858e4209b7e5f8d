package agent

import (
	"strings"
	"testing"
)

func TestSafeName(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", `a\b`, "../x", "a\x00b", "C:", strings.Repeat("x", 300)} {
		if safeName(bad) == nil {
			t.Errorf("%q is taken for a site name", bad)
		}
	}
	if err := safeName("shop-1"); err != nil {
		t.Error(err)
	}
}
