package proxy

import (
	"strconv"
	"strings"
	"testing"

	"portico/conf/sites"
)

func compiled(t testing.TB, name, path string, hosts ...string) *site {
	t.Helper()
	st, err := compileSettings(name, sites.Settings{Hosts: hosts, Path: path}.WithDefaults(name))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func testTable(t testing.TB) *table {
	sites := map[string]*site{}
	for _, s := range []*site{
		compiled(t, "shop", "/", "shop.test", "www.shop.test"),
		compiled(t, "admin", "/admin", "shop.test"),
		compiled(t, "deep", "/admin/deep", "shop.test"),
		compiled(t, "wild", "/", "*.shop.test"),
		compiled(t, "wilder", "/", "*.a.shop.test"),
		compiled(t, "part", "/only", "part.test"),
		compiled(t, "idn", "/", "xn--bcher-kva.test"),
		compiled(t, "six", "/", "[2001:db8::1]"),
		compiled(t, "rest", "/"),
	} {
		sites[s.name] = s
	}
	return newTable(1, sites)
}

// TestRoute: lines H1 to H4.
func TestRoute(t *testing.T) {
	tab := testTable(t)
	for _, tt := range []struct{ host, path, want string }{
		{"shop.test", "/", "shop"},
		{"SHOP.Test.:8080", "/x", "shop"},
		{"shop.test", "/admin", "admin"},
		{"shop.test", "/admin/x", "admin"},
		{"shop.test", "/administrator", "shop"},
		{"shop.test", "/admin/deep/er", "deep"},
		{"shop.test", "/%61dmin/x", "admin"},
		{"shop.test", "/x/../admin", "admin"},
		{"shop.test", "/x/%2e%2E/admin", "admin"},
		{"shop.test", "//admin", "admin"},
		{"shop.test", "/./admin", "admin"},
		{"shop.test", "/admin/..", "shop"},
		{"shop.test", "/x%2fadmin", "shop"},
		{"shop.test", "/..%2fadmin", "shop"},
		{"shop.test", "/admin%2fdeep", "shop"},
		{"shop.test", "/admin%252fdeep", "shop"},
		{"any.shop.test", "/", "wild"},
		{"a.b.shop.test", "/", "wild"},
		{"x.a.shop.test", "/", "wilder"},
		{"a.shop.test", "/", "wild"},
		{"www.shop.test", "/", "shop"},
		{"part.test", "/only/x", "part"},
		{"part.test", "/", ""}, // the host decides; no other site answers for it
		{"bücher.test", "/", "idn"},
		{"BÜCHER.test", "/", "idn"},
		{"[2001:DB8:0::1]:80", "/", "six"},
		{"unknown.test", "/", "rest"},
	} {
		r, f := tab.route(tt.host, tt.path, false, "")
		got := ""
		if r.site != nil {
			got = r.site.name
		}
		if got != tt.want || (f != nil) != (tt.want == "") {
			t.Errorf("%s %s: got %q (%v), want %q", tt.host, tt.path, got, f, tt.want)
		}
	}
	for _, host := range []string{"", "a b", "a/b", "a@b", "a:b", "2001:db8::1", "a:1:2", "a..b", ".a", "[::1", "[::1]x", "[::1%25eth0]", "a:99999", "a\x00b", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 130) + "b"} {
		if _, f := tab.route(host, "/", false, ""); f == nil || f.Status != 400 {
			t.Errorf("host %q: %v, want 400", host, f)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	sites := map[string]*site{}
	for i := range 1000 {
		name := "site" + strconv.Itoa(i)
		sites[name] = compiled(b, name, "/", name+".example.com", "www."+name+".example.com")
	}
	t := newTable(1, sites)
	b.ReportAllocs()
	for b.Loop() {
		if r, _ := t.route("www.site500.example.com:443", "/some/path/index.html", true, "www.site500.example.com"); r.site == nil {
			b.Fatal("no site")
		}
	}
}
