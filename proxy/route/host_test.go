package route_test

import (
	"strings"
	"testing"

	"portico/proxy/route"
)

// FuzzParseHost: one form for all spellings, which is its own form.
func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"a", "A.b.:80", "[::1]:1", "bücher.test", "xn--bcher-kva.test", "a@b", "1.2.3.4", "a_b.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		h, ok := route.ParseHost(raw)
		if !ok {
			return
		}
		spelled := h
		if strings.Contains(h, ":") {
			spelled = "[" + h + "]"
		}
		for _, again := range []string{spelled, strings.ToUpper(spelled), spelled + ":443"} {
			if got, ok := route.ParseHost(again); !ok || got != h {
				t.Fatalf("%q is %q, but %q is %q %v", raw, h, again, got, ok)
			}
		}
		if strings.ContainsAny(h, "/@ \t\r\n\"<>?#%\\,") {
			t.Fatalf("%q became %q", raw, h)
		}
	})
}
