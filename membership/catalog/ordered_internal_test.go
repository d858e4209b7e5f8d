package catalog

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// A list in pieces is the list that a slice would be, and one that was handed out never changes.
func TestOrdered(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	o, want := orderedOf(nil, cmp.Compare[int]), []int(nil)
	for step := range 400 {
		before, old := o, slices.Clone(want)
		var left, come []int
		for range r.IntN(20) {
			if step/100%2 == 0 || len(want) == 0 {
				come = append(come, r.IntN(500))
				continue
			}
			i := r.IntN(len(want))
			left = append(left, want[i])
			want = slices.Delete(want, i, i+1)
		}
		o = o.with(append(left, 1000), come)
		want = append(want, come...)
		slices.Sort(want)
		if got := whole(o); !slices.Equal(got, want) {
			t.Fatalf("step %d: %v, want %v", step, got, want)
		}
		if got := whole(before); !slices.Equal(got, old) {
			t.Fatalf("step %d: the list before became %v, it was %v", step, got, old)
		}
		least := r.IntN(520)
		i, _ := slices.BinarySearch(want, least)
		if got := slices.Collect(o.from(func(e int) int { return cmp.Compare(e, least) })); !slices.Equal(got, want[i:]) {
			t.Fatalf("step %d: from %d: %v, want %v", step, least, got, want[i:])
		}
		if slices.ContainsFunc(o.pieces, func(p []int) bool { return len(p) == 0 || len(p) > 2*pieceSize }) {
			t.Fatalf("step %d: %v", step, o.pieces)
		}
	}
}
