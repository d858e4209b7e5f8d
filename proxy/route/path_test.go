package route_test

import (
	"strings"
	"testing"

	"portico/proxy/route"
)

func TestNormalizePath(t *testing.T) {
	for raw, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/": "/a/", "/a/./b": "/a/b", "/a/../b": "/b", "/..": "/", "/../..": "/", "/a/..": "/", "/a/b/..": "/a/",
		"//": "/", "/a//b": "/a/b", "/%41": "/A", "/%2F": "/%2F", "/%2f": "/%2F", "/%5c": "/%5C", "/%25": "/%25", "/%00": "/%00",
		"/%2e%2e/a": "/a", "/a/%2e": "/a/", "/...": "/...", "/.a": "/.a", "/a%20b": "/a b",
	} {
		if got, ok := route.NormalizePath(raw); !ok || got != want {
			t.Errorf("%s: got %q %v, want %q", raw, got, ok, want)
		}
	}
	for _, raw := range []string{"", "a", "/%", "/%4", "/%zz", "*"} {
		if got, ok := route.NormalizePath(raw); ok {
			t.Errorf("%q: got %q, want a refusal", raw, got)
		}
	}
}

// FuzzNormalizePath: one normal form, reached in one step, without a dot segment
// or an empty one, and always at or below the root.
func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2e/x", "//x//", "/%252e", "/a%2fb/..", "/.", "/..%5c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, ok := route.NormalizePath(raw)
		if !ok {
			return
		}
		if p == "" || p[0] != '/' {
			t.Fatalf("%q became %q", raw, p)
		}
		for i, seg := range strings.Split(p[1:], "/") {
			if seg == "." || seg == ".." || seg == "" && i+1 < strings.Count(p, "/") {
				t.Fatalf("%q became %q, with the segment %q", raw, p, seg)
			}
		}
		again, ok := route.NormalizePath(route.EncodePath(p))
		if !ok || again != p {
			t.Fatalf("%q became %q and then %q", raw, p, again)
		}
	})
}
