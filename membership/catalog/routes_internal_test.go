package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"portico/conf/sites"
	"portico/internal/ordered"
	"portico/membership/catalog/store"
)

// change is the next view, of which some sites were written, or deleted where they have no name.
func change(t testing.TB, v *View, written map[string]Site) *View {
	t.Helper()
	b := newBuilder(v, nil)
	for name, s := range written {
		key := preSites + name
		if s.Name == "" {
			b.del(key)
			continue
		}
		value, err := encode(key, s)
		if err == nil {
			err = b.put(store.Item{Key: key, Value: value, Revision: v.Revision + 1})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.finish(v.Revision + 1)
}

func siteOn(name, path string, hosts ...string) Site {
	return Site{Name: name, Manifest: sites.Settings{Front: sites.Front{Hosts: hosts, Path: path}}}
}

func namesOf(list []*SiteRoutes) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Site)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// However the sites of a view came about, its index finds what a look at all of them does.
func TestRouteIndexIsThatOfItsView(t *testing.T) {
	v := change(t, emptyView(), map[string]Site{
		"any": siteOn("any", "/any"), "any2": siteOn("any2", ""), "shop": siteOn("shop", "/", "Shop.test", "www.shop.test."),
		"wild": siteOn("wild", "/w/", "*.Shop.test"), "deep": siteOn("deep", "/", "*.b.shop.test"), "v6": siteOn("v6", "/", "2001:DB8::1"),
		"broken": {Name: "broken", Override: json.RawMessage(`{"hosts":1}`)},
	})
	for _, tt := range []struct{ host, overlapping, path, at string }{
		{sites.AnyHost, "any any2", "/any", "any"},
		{"shop.test", "shop", "/", "shop"},
		{"www.shop.test", "shop wild", "/w", ""},
		{"a.b.shop.test", "deep wild", "/", ""},
		{"*.shop.test", "deep shop wild", "/w", "wild"},
		{"*.b.shop.test", "deep wild", "/", "deep"},
		{"*.test", "deep shop wild", "/", ""},
		{"xshop.test", "", "/", ""},
		{"2001:db8::1", "v6", "/", "v6"},
	} {
		if got := namesOf(v.Routes().Overlapping(tt.host)); got != tt.overlapping {
			t.Errorf("what overlaps %s is %q, want %q", tt.host, got, tt.overlapping)
		}
		if got := namesOf(v.Routes().At(tt.host, tt.path)); got != tt.at {
			t.Errorf("at %s%s is %q, want %q", tt.host, tt.path, got, tt.at)
		}
	}

	moved := change(t, v, map[string]Site{"shop": siteOn("shop", "/", "other.test"), "any": siteOn("any", "/", "SHOP.test"), "wild": {}, "new": siteOn("new", "/n", "shop.test")})
	if got := namesOf(moved.Routes().Overlapping("shop.test")); got != "any new" {
		t.Errorf("the host that moved is that of %q", got)
	}
	if got := namesOf(v.Routes().Overlapping("shop.test")); got != "shop" {
		t.Errorf("in the view before it is that of %q", got)
	}
	if got := namesOf(moved.Routes().Overlapping("www.shop.test")); got != "" {
		t.Errorf("hosts of a site that was removed are those of %q", got)
	}
	other := *moved
	other.Sites = map[string]*Site{"shop": v.Sites["shop"]}
	if got := namesOf(other.Routes().Overlapping("shop.test")); got != "shop" {
		t.Errorf("in a copy with other sites it is that of %q", got)
	}
}

func TestRouteIndexProperty(t *testing.T) {
	hosts := []string{"a.test", "b.a.test", "*.a.test", "*.b.a.test", "c.b.a.test", "D.test.", "*.d.test", "10.0.0.1", "[::1]", "::ffff:10.0.0.1"}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		v := emptyView()
		for step := range 60 {
			written := map[string]Site{}
			for range 1 + r.IntN(3)*r.IntN(20) {
				name := fmt.Sprintf("s%d", r.IntN(40))
				s := siteOn(name, []string{"", "/x", "/x/y/"}[r.IntN(3)])
				for range r.IntN(4) {
					s.Manifest.Hosts = append(s.Manifest.Hosts, hosts[r.IntN(len(hosts))])
				}
				switch r.IntN(8) {
				case 0:
					s = Site{}
				case 1:
					s.Override = json.RawMessage(`{"hosts":["set.test"],"session":{"cookie":"mine"}}`)
				case 2:
					s.Override = json.RawMessage(`{"nothing":"known"}`)
				}
				written[name] = s
			}
			v = change(t, v, written)
			if r.IntN(4) > 0 {
				sameAsAnew(t, v, append(hosts, "set.test", "x.a.test", "*.test", sites.AnyHost))
			}
			if t.Failed() {
				t.Fatal("seed", seed, "step", step)
			}
		}
	}
}

func whole[E any](o ordered.List[E]) []E {
	return slices.Collect(o.From(func(E) int { return 0 }))
}

// sameAsAnew compares a view's index with one made anew, and what it finds with a look at all sites.
func sameAsAnew(t *testing.T, v *View, hosts []string) {
	t.Helper()
	x := v.Routes()
	anew := newRouteIndex(v.Sites, nil)
	if !reflect.DeepEqual(whole(x.bySite), whole(anew.bySite)) || !reflect.DeepEqual(whole(x.byCookie), whole(anew.byCookie)) || !reflect.DeepEqual(whole(x.byHost), whole(anew.byHost)) {
		t.Errorf("the index is\n%+v, made anew it is\n%+v", x, anew)
	}
	under := func(wild, name string) bool {
		return wild != "*" && wild[0] == '*' && name != wild && strings.HasSuffix(name, wild[1:])
	}
	for _, host := range hosts {
		host = sites.CanonicalHost(host)
		var overlap, at []*SiteRoutes
		for _, name := range slices.Sorted(maps.Keys(v.Sites)) {
			r := routesOf(v.Sites[name], name)
			if got := v.RoutesOf(name); r != nil && !reflect.DeepEqual(got, r.Routes) {
				t.Errorf("site %s answers on %v, want %v", name, got, r.Routes)
			}
			if r == nil {
				continue
			}
			for _, h := range r.Hosts {
				if h == host || under(h, host) || under(host, h) {
					overlap = append(overlap, r)
				}
				if h == host && r.Path == "/x" {
					at = append(at, r)
				}
			}
		}
		if got, want := namesOf(x.Overlapping(host)), namesOf(overlap); got != want {
			t.Errorf("what overlaps %s is %q, want %q", host, got, want)
		}
		if got, want := namesOf(x.At(host, "/x")), namesOf(at); got != want {
			t.Errorf("at %s/x is %q, want %q", host, got, want)
		}
	}
	var mine []*SiteRoutes
	for name, s := range v.Sites {
		if r := routesOf(s, name); r != nil && r.cookie == "mine" {
			mine = append(mine, r)
		}
	}
	if got, want := namesOf(x.WithCookie("mine")), namesOf(mine); got != want {
		t.Errorf("the cookie is that of %q, want %q", got, want)
	}
}

// The settings of a site are worked out when its record has changed, and those of no other site.
func TestRouteIndexWorksOutWhatChanged(t *testing.T) {
	first := map[string]Site{}
	for i := range 200 {
		name := fmt.Sprintf("s%03d", i)
		first[name] = siteOn(name, "/", name+".test")
	}
	v := change(t, emptyView(), first)
	before := v.Routes()
	after := change(t, v, map[string]Site{"s100": siteOn("s100", "/", "other.test")}).Routes()
	again := 0
	for name := range first {
		if before.of(name) != after.of(name) {
			again++
		}
	}
	if again != 1 {
		t.Errorf("the settings of %d sites were worked out for a change of one", again)
	}
	tx := newTx(v, nil)
	if err := tx.PutSite(siteOn("s100", "/", "other.test")); err != nil {
		t.Fatal(err)
	}
	within := tx.Hosts()
	if got := namesOf(within.Routes().Overlapping("other.test")); got != "s100" {
		t.Errorf("within the change the host is that of %q", got)
	}
	if within.Routes().of("s099") != before.of("s099") {
		t.Error("a change works out anew what its view has")
	}
}

func BenchmarkApplySite(b *testing.B) {
	v := manySites(b, 5000)
	v.Routes()
	site := siteOn("s0100", "/", "s0100.test")
	b.ReportAllocs()
	for b.Loop() {
		v = change(b, v, map[string]Site{"s0100": site})
	}
}

func manySites(t testing.TB, n int) *View {
	first := map[string]Site{}
	for i := range n {
		name := fmt.Sprintf("s%04d", i)
		first[name] = siteOn(name, "/", name+".test", "www."+name+".test")
	}
	return change(t, emptyView(), first)
}

func BenchmarkRouteIndex(b *testing.B) {
	v := manySites(b, 5000)
	x := v.Routes()
	changed := map[string]bool{"s0100": true}
	next := change(b, v, map[string]Site{"s0100": siteOn("s0100", "/", "s0100.test")}).Sites
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			newRouteIndex(v.Sites, nil)
		}
	})
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			x.with(next, changed)
		}
	})
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			x.Overlapping("www.s0100.test")
		}
	})
}
