package route_test

import (
	"strconv"
	"strings"
	"testing"

	"portico/proxy/route"
)

func entry(t testing.TB, name, path string, hosts ...string) route.Entry[*string] {
	t.Helper()
	r, err := route.NewRule(hosts, path)
	if err != nil {
		t.Fatal(err)
	}
	return route.Entry[*string]{Rule: &r, Name: name, Site: &name}
}

func testTable(t testing.TB) *route.Table[*string] {
	return table(
		entry(t, "shop", "/", "shop.test", "www.shop.test"),
		entry(t, "admin", "/admin", "shop.test"),
		entry(t, "deep", "/admin/deep/", "shop.test"),
		entry(t, "wild", "/", "*.shop.test"),
		entry(t, "wilder", "/", "*.a.shop.test"),
		entry(t, "part", "/only", "part.test"),
		entry(t, "idn", "/", "xn--bcher-kva.test"),
		entry(t, "six", "/", "[2001:db8::1]"),
		entry(t, "rest", "/"),
	)
}

func table(now ...route.Entry[*string]) *route.Table[*string] {
	return (&route.Table[*string]{}).Edit(nil, now)
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
		r, f := tab.Route(tt.host, tt.path, false, "")
		got := ""
		if r.Site != nil {
			got = *r.Site
		}
		if got != tt.want || (f != nil) != (tt.want == "") {
			t.Errorf("%s %s: got %q (%v), want %q", tt.host, tt.path, got, f, tt.want)
		}
	}
	for _, host := range []string{"", "a b", "a/b", "a@b", "a:b", "2001:db8::1", "a:1:2", "a..b", ".a", "[::1", "[::1]x", "[::1%25eth0]", "a:99999", "a\x00b", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 130) + "b"} {
		if _, f := tab.Route(host, "/", false, ""); f == nil || f.Status != 400 {
			t.Errorf("host %q: %v, want 400", host, f)
		}
	}
}

// A rule that cannot be compared is refused.
func TestNewRule(t *testing.T) {
	for _, tt := range []struct{ host, path string }{{"shop.test", "app"}, {"a b", "/"}, {"*.", "/"}, {"*.*.a", "/"}} {
		if r, err := route.NewRule([]string{tt.host}, tt.path); err == nil {
			t.Errorf("%v became %v", tt, r)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	var sites []route.Entry[*string]
	for i := range 1000 {
		name := "site" + strconv.Itoa(i)
		sites = append(sites, entry(b, name, "/", name+".example.com", "www."+name+".example.com"))
	}
	t := table(sites...)
	b.ReportAllocs()
	for b.Loop() {
		if r, _ := t.Route("www.site500.example.com:443", "/some/path/index.html", true, "www.site500.example.com"); r.Site == nil {
			b.Fatal("no site")
		}
	}
}
