package ordered

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// A list in pieces is the list that a slice would be, and one that was handed out never changes.
func TestList(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	o, want := Of(nil, cmp.Compare[int]), []int(nil)
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
		o = o.With(append(left, 1000), come)
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
		if got := slices.Collect(o.From(func(e int) int { return cmp.Compare(e, least) })); !slices.Equal(got, want[i:]) {
			t.Fatalf("step %d: from %d: %v, want %v", step, least, got, want[i:])
		}
		if slices.ContainsFunc(o.pieces, func(p []int) bool { return len(p) == 0 || len(p) > 2*pieceSize }) {
			t.Fatalf("step %d: %v", step, o.pieces)
		}
	}
}

// The next list has all pieces of the one before but that which has changed.
func TestWithKeepsWhatIsTheSame(t *testing.T) {
	var all []int
	for i := range 2000 {
		all = append(all, i)
	}
	before := Of(all, cmp.Compare[int])
	after := before.With([]int{1000}, []int{1000})
	again := 0
	for i, piece := range after.pieces {
		if &piece[0] != &before.pieces[i][0] {
			again++
		}
	}
	if again != 1 {
		t.Errorf("%d pieces of %d were made anew for one element", again, len(before.pieces))
	}
}

// whole is all of a list.
func whole[E any](o List[E]) []E {
	return slices.Collect(o.From(func(E) int { return 0 }))
}
