package sessions

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// shard is a part of the table with its lock, on a cache line of its own.
type shard struct {
	mu   sync.Mutex
	e    []entry
	n    int
	hand int // where the search for a victim goes on

	settled bool // e is a part of the table's arena

	// Where e is and how long, for expect, which takes no lock. It may see one
	// without the other: then its hint is wrong, and nothing else.
	at   atomic.Uintptr
	size atomic.Uint64
}

// entry is one session. Times are seconds since 2020, good until 2156. An alias has no
// times but its last use: start and issued hold the id of the session that it names.
type entry struct {
	id     uint64 // 0: free
	last   uint32 // last use
	start  uint32
	issued uint32 // of the newest cookie that this proxy knows of
	where  uint32 // slot of the upstream, and marks
}

// Marks of an entry, above the 23 bits of its slot.
const (
	slotMask     = 1<<23 - 1
	markFormer   = 1 << 23 // with MarkUntold: that request is in the process before this one, which will say what became of it
	markReturned = 1 << 24 // seen more than once
	MarkEnded    = 1 << 25 // an operator ended it: its cookie is refused
	MarkMove     = 1 << 26 // an operator wants it elsewhere: placed anew at its next request
	MarkAlias    = 1 << 27 // an application's own token, not counted
	markKept     = 1 << 28 // the application has opened a session in the first burst
	markLight    = 1 << 29 // its visitor has not come back: it holds no seat
	MarkUntold   = 1 << 30 // it has moved, and the request that is to tell of it has no answer yet
	MarkOwed     = 1 << 31 // it has moved, and perhaps nobody was told: its request was in a process before this one, or others went there meanwhile
	noSlot       = 0
)

func (e *entry) slot() uint32 { return e.where & slotMask }

// counted reports whether e is one of its upstream's live sessions.
func (e *entry) counted() bool { return e.where&(MarkEnded|MarkAlias) == 0 }

// alias reports whether e is an application's token.
func (e *entry) alias() bool { return e.where&MarkAlias != 0 }

// Mix spreads ids that callers made without much care.
func Mix(id uint64) uint64 {
	id ^= id >> 32
	id *= 0xd6e8feb86659fd93
	id ^= id >> 32
	return id * 0xd6e8feb86659fd93
}

// home returns where the entry with a mixed id belongs. The shard took the
// upper bits, so they are shifted out of the way.
func (sh *shard) home(h uint64) int {
	return position(h, uint64(len(sh.e)))
}

func position(h, size uint64) int {
	hi, _ := bits.Mul64(h<<8, size)
	return int(hi)
}

// find returns the index of id, or -1.
func (sh *shard) find(id, h uint64) int {
	if sh.n == 0 {
		return -1
	}
	for i := sh.home(h); ; {
		switch sh.e[i].id {
		case id:
			return i
		case 0:
			return -1
		}
		if i++; i == len(sh.e) {
			i = 0
		}
	}
}

// put stores an entry that is not there yet; there must be a free place.
func (sh *shard) put(e entry) {
	i := sh.home(Mix(e.id))
	for sh.e[i].id != 0 {
		if i++; i == len(sh.e) {
			i = 0
		}
	}
	sh.e[i] = e
	sh.n++
}

// remove frees place i and moves up those behind it that would not be found
// any more.
func (sh *shard) remove(i int) {
	sh.n--
	size := len(sh.e)
	for j := i; ; {
		if j++; j == size {
			j = 0
		}
		if sh.e[j].id == 0 {
			break
		}
		home := sh.home(Mix(sh.e[j].id))
		if (j-home+size)%size >= (j-i+size)%size {
			sh.e[i] = sh.e[j]
			i = j
		}
	}
	sh.e[i] = entry{}
}

// grow makes room for one more.
func (sh *shard) grow() {
	if (sh.n+1)*4 > len(sh.e)*3 {
		sh.resize(max(minShard, len(sh.e)+len(sh.e)/4+1))
	}
}

// resize moves the entries to a table of the given size.
func (sh *shard) resize(size int) { sh.rehash(make([]entry, size)) }

// rehash moves the entries to another, empty table.
func (sh *shard) rehash(to []entry) {
	old := sh.e
	sh.e, sh.n, sh.hand = to, 0, 0
	sh.at.Store(uintptr(unsafe.Pointer(unsafe.SliceData(sh.e))))
	sh.size.Store(uint64(len(to)))
	for _, e := range old {
		if e.id != 0 {
			sh.put(e)
		}
	}
}
