package sticky_test

import (
	"strings"
	"testing"

	"portico/proxy/sticky"
)

// FuzzValues: what is found is a value that stands in the field, and no more than can be meant.
func FuzzValues(f *testing.F) {
	f.Add("a=b; portico-shop=x; c=d", "portico-shop")
	f.Add("portico-shop=;portico-shop=\"y\"", "portico-shop")
	f.Fuzz(func(t *testing.T, line, name string) {
		if name == "" || strings.ContainsAny(name, "=; \t") {
			return
		}
		values := sticky.Values([]string{line}, name)
		if n := strings.Count(line, name+"="); len(values) > min(n, 4) {
			t.Fatalf("%d values of %d", len(values), n)
		}
		for _, v := range values {
			if !strings.Contains(line, string(v)) || strings.ContainsAny(string(v), ";") {
				t.Fatalf("%q has no value %q", line, v)
			}
		}
	})
}
