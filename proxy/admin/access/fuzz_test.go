package access_test

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"portico/proxy/admin/access"
)

// FuzzPath: a path that passes reads the same however it is cleaned.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v1/sites/shop", "/v1/../x", "//", "/%2e%2e/", "/stats;csv", "/a%2fb", "/a\\b", "/\x00", "/a/", "/%252e", "", "/é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			return
		}
		if !access.PathClean(&http.Request{URL: u}) {
			return
		}
		p := u.Path
		if c := path.Clean(p); c != p && c+"/" != p {
			t.Fatalf("%q passes and cleans to %q", p, c)
		}
		again, err := url.PathUnescape(p)
		if err == nil && again != p {
			t.Fatalf("%q passes and decodes to %q", p, again)
		}
		if strings.Contains(p, "..") && strings.Contains("/"+p+"/", "/../") {
			t.Fatalf("%q passes", p)
		}
	})
}

// FuzzHost: only addresses and the listener's own names pass.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"proxy.example.com", "localhost:7443", "127.0.0.1.evil", "[::1]:1", "evil@localhost", "LOCALHOST.", "[localhost]", "1::2:3", ""} {
		f.Add(s)
	}
	names := map[string]bool{"localhost": true, "proxy.example.com": true}
	f.Fuzz(func(t *testing.T, host string) {
		if !access.HostAllowed(host, names) {
			return
		}
		low := strings.ToLower(host)
		if strings.Contains(low, "localhost") || strings.Contains(low, "proxy.example.com") {
			if strings.ContainsAny(low, "@/\\ ") {
				t.Fatalf("%q passes", host)
			}
			return
		}
		if strings.ContainsAny(low, "ghijklmnopqrstuvwyz@/") && !strings.Contains(low, "%") {
			t.Fatalf("%q passes and is no address", host)
		}
	})
}
