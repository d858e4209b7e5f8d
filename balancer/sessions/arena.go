package sessions

import (
	"unsafe"

	"portico/internal/hugepage"
)

// arena is the one piece of memory that all shards of a large table live in. In pages of 4
// KiB each visit of a session waits not only for its entry but also for the page tables'
// entry that says where it is. Large pages are for memory that is used as a whole, so
// the shards come together only once they fill half of it, which is 48 bytes for each session;
// they part again when they fill less than a quarter.
//
// Sweep makes it and moves the shards, one by one. No request waits for the kernel to
// find a large page.
type arena struct {
	e    []entry // nil: there is none
	each int     // entries of a shard that needs to grow no more
	held int     // entries that the present round of sweeping has seen
}

const (
	entrySize = int(unsafe.Sizeof(entry{}))
	minArena  = 2 * hugepage.Size // below that the processor knows most pages by heart
)

// newArena returns the arena of shards with room for so many entries each.
func newArena(room int) arena { return arena{each: (room/3*4 + 16) &^ 7} } // 8 entries are whole cache lines

// decide makes the arena or gives it up, once a round of sweeping has counted.
func (a *arena) decide(shards int) {
	size := shards * a.each
	switch {
	case size*entrySize < minArena:
	case a.e == nil && a.held >= size/2:
		a.e = make([]entry, size)
		hugepage.Advise(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(a.e))), size*entrySize))
		for i := 0; i < size; i += 4096 / entrySize {
			a.e[i].id = 0 // the kernel finds the page now
		}
	case a.e != nil && a.held < size/4:
		a.e = nil
	}
	a.held = 0
}

// settle moves a shard to its place in the arena, or away from one that was given up.
func (a *arena) settle(sh *shard, i int) {
	switch {
	case a.e != nil && !sh.settled:
		sh.rehash(a.e[i*a.each : (i+1)*a.each : (i+1)*a.each])
		sh.settled = true
	case a.e == nil && sh.settled:
		sh.rehash(make([]entry, max(minShard, sh.n*3/2)))
		sh.settled = false
	}
}
