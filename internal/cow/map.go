// Package cow has a map that is never changed: an edit makes another one, which shares with the first
// all that it does not touch. Whoever reads one needs no lock, and a change of one entry among
// thousands costs what few entries cost.
package cow

import (
	"hash/maphash"
	"iter"
	"maps"
)

// parts is into how many pieces a map is cut, each copied by itself.
const parts = 256

// seed is drawn anew by each process, so that nobody who chooses keys chooses their piece.
var seed = maphash.MakeSeed()

func part(key string) uint8 { return uint8(maphash.String(seed, key)) }

// Map is an immutable map. Its zero value is empty.
type Map[V any] struct {
	parts [parts]map[string]V
	n     int
}

// Get returns what is there for a key, or false.
func (m *Map[V]) Get(key string) (V, bool) {
	v, ok := m.parts[part(key)][key]
	return v, ok
}

// Len is how many entries there are.
func (m *Map[V]) Len() int { return m.n }

// All lists the entries, in no order.
func (m *Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, p := range m.parts {
			for k, v := range p {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// Edit begins another map that has what this one has.
func (m *Map[V]) Edit() *Edit[V] {
	next := *m
	return &Edit[V]{next: &next}
}

// Edit is a map in the making. It serves one goroutine.
type Edit[V any] struct {
	next *Map[V]
	own  [parts]bool // pieces that are copied already
}

// Get returns what is there for a key by now, or false.
func (e *Edit[V]) Get(key string) (V, bool) { return e.next.Get(key) }

// Set puts a value in the place of what there is for a key.
func (e *Edit[V]) Set(key string, v V) {
	p := e.part(key)
	before := len(p)
	p[key] = v
	e.next.n += len(p) - before
}

// Delete takes away what there is for a key, if anything is.
func (e *Edit[V]) Delete(key string) {
	if _, ok := e.next.Get(key); !ok {
		return
	}
	delete(e.part(key), key)
	e.next.n--
}

// part returns the piece of a key, which nobody else has yet.
func (e *Edit[V]) part(key string) map[string]V {
	i := part(key)
	if !e.own[i] {
		e.own[i] = true
		if p := e.next.parts[i]; p == nil {
			e.next.parts[i] = map[string]V{}
		} else {
			e.next.parts[i] = maps.Clone(p)
		}
	}
	return e.next.parts[i]
}

// Map ends the edit.
func (e *Edit[V]) Map() *Map[V] {
	m := e.next
	e.next = nil
	return m
}
