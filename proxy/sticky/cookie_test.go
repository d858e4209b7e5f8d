package sticky_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/proxy/sticky"
)

// The cookies beside the sticky one come along into frames of other sites where that one does, and nowhere else.
func TestCookiesBeside(t *testing.T) {
	for _, tt := range []struct {
		session sites.Session
		secure  bool
		want    string
	}{
		{sites.Session{Cookie: "c"}, true, "HttpOnly; SameSite=Lax; Secure"},
		{sites.Session{Cookie: "c", SameSite: "none"}, true, "HttpOnly; SameSite=Lax; Secure"},
		{sites.Session{Cookie: "c", SameSite: "none", Partitioned: true}, true, "HttpOnly; SameSite=None; Secure; Partitioned"},
		{sites.Session{Cookie: "c", SameSite: "none", Partitioned: true}, false, "HttpOnly; SameSite=Lax"},
	} {
		c := sticky.NewCookie("/", tt.session)
		for _, set := range []string{c.KeepPlace("t", time.Minute, tt.secure), c.KeepPlace("", 0, tt.secure), c.Noticed("t", tt.secure)} {
			if !strings.HasSuffix(set, "; "+tt.want) {
				t.Errorf("%+v, TLS %v: %q, want %q", tt.session, tt.secure, set, tt.want)
			}
		}
	}
}

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
			if !strings.Contains(line, string(v)) || bytes.ContainsAny(v, ";") {
				t.Fatalf("%q has no value %q", line, v)
			}
		}
	})
}
