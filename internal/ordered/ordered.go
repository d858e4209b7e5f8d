// Package ordered keeps lists in order in pieces, so that the next list shares with the one before what stays.
package ordered

import (
	"iter"
	"slices"
)

// pieceSize is how many elements a piece of an ordered list has at first, and half of the most.
const pieceSize = 64

// List is a list in order, kept in pieces: a copy that differs in a few elements shares all other pieces.
type List[E any] struct {
	order  func(a, b E) int
	pieces [][]E // none is empty, and none is written to
}

// Of returns a list that is in order as an ordered one.
func Of[E any](list []E, order func(a, b E) int) List[E] {
	return List[E]{order, slices.Collect(slices.Chunk(list, pieceSize))}
}

// With returns a copy without the elements that left, of each as many as left has, and with those that come.
func (o List[E]) With(left, come []E) List[E] {
	o.pieces = slices.Clone(o.pieces)
	for _, e := range left {
		o.remove(e)
	}
	for _, e := range come {
		o.insert(e)
	}
	return o
}

// remove takes e out of a list whose pieces slice is the caller's own.
func (o *List[E]) remove(e E) {
	at := o.before(func(x E) int { return o.order(x, e) })
	if at.piece == len(o.pieces) || o.order(o.pieces[at.piece][at.i], e) != 0 {
		return
	}
	left := slices.Delete(slices.Clone(o.pieces[at.piece]), at.i, at.i+1)
	if len(left) == 0 {
		o.pieces = slices.Delete(o.pieces, at.piece, at.piece+1)
		return
	}
	o.pieces[at.piece] = left
}

// insert puts e into a list whose pieces slice is the caller's own.
func (o *List[E]) insert(e E) {
	if len(o.pieces) == 0 {
		o.pieces = [][]E{{e}}
		return
	}
	at := o.before(func(x E) int { return o.order(x, e) })
	if at.piece == len(o.pieces) { // behind all
		at.piece--
		at.i = len(o.pieces[at.piece])
	}
	more := slices.Insert(slices.Clone(o.pieces[at.piece]), at.i, e)
	if len(more) <= 2*pieceSize {
		o.pieces[at.piece] = more
		return
	}
	o.pieces[at.piece] = more[:pieceSize:pieceSize]
	o.pieces = slices.Insert(o.pieces, at.piece+1, more[pieceSize:])
}

// spot is where an element is.
type spot struct{ piece, i int }

// before returns the spot of the first element for which compare is not negative; its piece is len(o.pieces) where there is none.
func (o List[E]) before(compare func(E) int) spot {
	search := func(e E, _ struct{}) int { return compare(e) }
	p, _ := slices.BinarySearchFunc(o.pieces, struct{}{}, func(piece []E, _ struct{}) int { return compare(piece[len(piece)-1]) })
	if p == len(o.pieces) {
		return spot{piece: p}
	}
	i, _ := slices.BinarySearchFunc(o.pieces[p], struct{}{}, search)
	return spot{p, i}
}

// From returns the elements from the first on for which compare is not negative.
func (o List[E]) From(compare func(E) int) iter.Seq[E] {
	return func(yield func(E) bool) {
		at := o.before(compare)
		for ; at.piece < len(o.pieces); at = (spot{piece: at.piece + 1}) {
			for _, e := range o.pieces[at.piece][at.i:] {
				if !yield(e) {
					return
				}
			}
		}
	}
}
