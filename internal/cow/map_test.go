package cow_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"portico/internal/cow"
)

// TestMap compares a long row of edits with a map of the language, and looks at each former map again: none has changed.
func TestMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	m, want := &cow.Map[int]{}, map[string]int{}
	type version struct {
		m    *cow.Map[int]
		want map[string]int
	}
	var all []version
	for range 200 {
		e := m.Edit()
		for range r.IntN(20) {
			key := fmt.Sprint(r.IntN(300))
			if r.IntN(3) == 0 {
				e.Delete(key)
				delete(want, key)
			} else {
				v := r.Int()
				e.Set(key, v)
				want[key] = v
			}
			if got, ok := e.Get(key); ok != (want[key] != 0) || got != want[key] {
				t.Fatalf("while it is edited, %s is %d, want %d", key, got, want[key])
			}
		}
		m = e.Map()
		all = append(all, version{m, maps.Clone(want)})
	}
	for i, v := range all {
		if got := maps.Collect(v.m.All()); !maps.Equal(got, v.want) || v.m.Len() != len(v.want) {
			t.Fatalf("version %d: %d entries, counted as %d, want %d", i, len(got), v.m.Len(), len(v.want))
		}
		for key, want := range v.want {
			if got, ok := v.m.Get(key); !ok || got != want {
				t.Fatalf("version %d: %s is %d, want %d", i, key, got, want)
			}
		}
	}
}

func many(n int) *cow.Map[int] {
	e := (&cow.Map[int]{}).Edit()
	for i := range n {
		e.Set(fmt.Sprintf("site-%d.example", i), i)
	}
	return e.Map()
}

// One entry changes: with 20,000 entries it takes little more than with 20.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{20, 5000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := many(n)
			b.ReportAllocs()
			for b.Loop() {
				e := m.Edit()
				e.Set("site-7.example", 8)
				m = e.Map()
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := many(n)
			for b.Loop() {
				m.Get("site-0.example")
			}
		})
	}
}
