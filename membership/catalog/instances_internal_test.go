package catalog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"portico/membership/catalog/store"
)

func changeInstances(t testing.TB, v *View, written map[string]*Instance) *View {
	t.Helper()
	b := newBuilder(v, nil)
	for id, in := range written {
		key := preInstances + id
		if in == nil {
			b.del(key)
			continue
		}
		value, err := encode(key, in)
		if err == nil {
			err = b.put(store.Item{Key: key, Value: value, Revision: v.Revision + 1})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.finish(v.Revision + 1)
}

func idsOf(list []*Instance) string {
	var out []string
	for _, in := range list {
		out = append(out, in.ID)
	}
	return strings.Join(out, " ")
}

// However a view came about, a site's instances are those that a look at all of them finds.
func TestInstancesOf(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	v := emptyView()
	for step := range 200 {
		written := map[string]*Instance{}
		for range 1 + r.IntN(3)*r.IntN(40) {
			id := fmt.Sprintf("i%02d", r.IntN(60))
			written[id] = &Instance{ID: id, Site: fmt.Sprint("s", r.IntN(5)), Port: step}
			if r.IntN(3) == 0 {
				written[id] = nil
			}
		}
		before := v
		v = changeInstances(t, v, written)
		if r.IntN(4) == 0 {
			continue
		}
		for _, view := range []*View{v, before} {
			for s := range 6 {
				site, want := fmt.Sprint("s", s), []*Instance(nil)
				for _, in := range view.Instances {
					if in.Site == site {
						want = append(want, in)
					}
				}
				slices.SortFunc(want, bySiteAndID)
				if got := view.InstancesOf(site); !slices.Equal(got, want) {
					t.Fatalf("step %d: %s has %s, want %s", step, site, idsOf(got), idsOf(want))
				}
			}
		}
	}
	other := *v
	other.Instances = map[string]*Instance{"x": {ID: "x", Site: "s0"}}
	if got := idsOf(other.InstancesOf("s0")); got != "x" {
		t.Errorf("a copy with other instances has %s", got)
	}
}

// The list of the next view has all that has not changed of the one before.
func TestInstancesOfKeepsWhatIsTheSame(t *testing.T) {
	first := map[string]*Instance{}
	for i := range 2000 {
		id := fmt.Sprintf("i%04d", i)
		first[id] = &Instance{ID: id, Site: fmt.Sprint("s", i/10)}
	}
	v := changeInstances(t, emptyView(), first)
	v.InstancesOf("s1")
	v = changeInstances(t, v, map[string]*Instance{"i1000": {ID: "i1000", Site: "s100", Port: 1}})
	if v.siteInstances.made.Load() == nil || v.InstancesOf("s100")[0].Port != 1 {
		t.Error("the list is made anew, not from the one before")
	}
}

// BenchmarkInstances is what one site of 5,000 with 20,000 instances takes, and a change of one instance.
func BenchmarkInstances(b *testing.B) {
	first := map[string]*Instance{}
	for i := range 20000 {
		id := fmt.Sprintf("%016x%06d", i*7919, i)
		first[id] = &Instance{ID: id, Site: fmt.Sprintf("s%04d", i/4)}
	}
	v := changeInstances(b, emptyView(), first)
	v.InstancesOf("s0100")
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			v.InstancesOf("s0100")
		}
	})
	b.Run("walk", func(b *testing.B) {
		other := View{Instances: v.Instances}
		for b.Loop() {
			other.InstancesOf("s0100")
		}
	})
	b.Run("changed", func(b *testing.B) {
		changed := map[string]bool{"i": true, v.InstancesOf("s0100")[0].ID: true}
		for b.Loop() {
			v.siteInstances.next(v.Instances, changed)
		}
	})
	b.Run("apply", func(b *testing.B) {
		id := v.InstancesOf("s0100")[0].ID
		for b.Loop() {
			v = changeInstances(b, v, map[string]*Instance{id: first[id]})
		}
	})
}
