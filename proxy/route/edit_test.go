package route_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"portico/proxy/route"
)

// TestEdit changes a table again and again. It leads where a table leads that is made at once of what there is then, and the tables
// before it lead where they did.
func TestEdit(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	hosts := []string{"a.test", "b.test", "*.a.test", "*.test", "x.a.test", ""}
	paths := []string{"/", "/one", "/one/two", "/two"}
	draw := func(name string) route.Entry[*string] {
		var of []string
		for _, h := range hosts {
			if h != "" && r.IntN(4) == 0 {
				of = append(of, h)
			}
		}
		e := entry(t, name, paths[r.IntN(len(paths))], of...)
		e.Private = r.IntN(2) == 0
		return e
	}
	all := map[string]route.Entry[*string]{}
	tab := &route.Table[*string]{}
	for range 300 {
		var gone, now []route.Entry[*string]
		for i := range 12 {
			name := fmt.Sprint("site", i)
			was, there := all[name]
			switch {
			case r.IntN(4) > 0:
				continue
			case there && r.IntN(3) == 0:
				gone = append(gone, was)
				delete(all, name)
				continue
			case there:
				gone = append(gone, was)
			}
			all[name] = draw(name)
			now = append(now, all[name])
		}
		before, led := tab, leads(tab)
		tab = tab.Edit(gone, now)
		if want := leads(table(slices.Collect(maps.Values(all))...)); leads(tab) != want {
			t.Fatalf("without %d and with %d sites the table leads to\n%s\nwant\n%s", len(gone), len(now), leads(tab), want)
		}
		if leads(before) != led {
			t.Fatal("the table before has changed")
		}
	}
}

// leads says where a table leads.
func leads(tab *route.Table[*string]) string {
	var b strings.Builder
	for _, host := range []string{"a.test", "b.test", "c.test", "x.a.test", "y.a.test", "other"} {
		fmt.Fprint(&b, host, " ", tab.Private(host), tab.Why(host))
		for _, path := range []string{"/", "/one/x", "/one/two", "/two"} {
			if e := tab.Lookup(host, path); e != nil {
				fmt.Fprint(&b, " ", *e.Site)
			} else {
				b.WriteString(" -")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
