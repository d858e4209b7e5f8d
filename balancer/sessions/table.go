package sessions

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"portico/internal/prefetch"
)

// DefaultMaxSessions bounds the session table where Options name no bound. A
// full table takes 36 MB.
const DefaultMaxSessions = 1 << 20

const (
	maxShards    = 256  // locks; two requests meet on one with probability 1/256
	shardAim     = 4096 // entries of a shard at the bound: growing one copies 100 KB
	minShard     = 8    // first allocation of a shard, in entries
	sweepParts   = 8    // ticks until each shard was swept
	victims      = 32   // entries that are looked at for the oldest, at the bound
	secondsStart = 1577836800
)

// Table is the table of live sessions of all pools: who was where, and when
// last. It only counts and lists. Without it every cookie still leads to its
// instance.
//
// An entry takes 24 bytes, in shards that grow by a quarter when they are 75 %
// full: 32 to 40 bytes for each session. A table that is more than half full lives in
// one piece of memory (see arena): 36 to 48 bytes, and as much as both while it moves there, which takes some
// seconds. At the bound the least recently used of some 32 neighbours gives way, first
// those that were never seen a second time (robots that ignore cookies). Counts are exact while nothing
// gives way, except that a session whose time is over is counted until the sweep reaches it.
type Table[U Owner] struct {
	shards []shard
	shift  uint // of a mixed id, to get the shard
	room   int  // entries of one shard, at most

	born    atomic.Int64 // first use, Unix milliseconds
	swept   atomic.Int64 // latest time by which sessions were ended, Unix milliseconds
	part    atomic.Uint32
	evicted atomic.Uint64
	expired atomic.Uint64

	sweeping sync.Mutex // one sweep at a time; guards arena
	arena    arena

	mu    sync.Mutex // guards what follows, and replacing slots
	slots atomic.Pointer[[]U]
	sets  atomic.Pointer[[]clockSet] // times that the clock was set, the oldest first
	free  []uint32
	dying []dying
	round uint32 // complete sweeps
}

// NewTable returns a table for about limit sessions; 0 means
// DefaultMaxSessions. Chance fills shards unevenly, so up to a few percent more may fit.
func NewTable[U Owner](limit int) *Table[U] {
	if limit <= 0 {
		limit = DefaultMaxSessions
	}
	n := 1
	for n < maxShards && limit/n > shardAim {
		n *= 2
	}
	s := &Table[U]{shards: make([]shard, n), shift: uint(64 - bits.Len(uint(n-1)))}
	s.room = limit / n
	if n > 1 {
		s.room += int(4 * math.Sqrt(float64(s.room)))
	}
	s.arena = newArena(s.room)
	s.slots.Store(&[]U{*new(U)})
	return s
}

func stamp(now int64) uint32   { return toStamp(now / 1000) }
func toStamp(sec int64) uint32 { return uint32(max(sec-secondsStart, 1)) }
func fromStamp(s uint32) int64 { return int64(s) + secondsStart }

func (s *Table[U]) shard(h uint64) *shard { return &s.shards[h>>s.shift&uint64(len(s.shards)-1)] }

// Expect has the processor fetch the entry of a session that is going to be asked for.
// At a million sessions an entry is in no cache as a rule, and the way to memory takes
// as long as everything else about a request's choice together.
func (s *Table[U]) Expect(id uint64) {
	h := Mix(id)
	sh := s.shard(h)
	if at := sh.at.Load(); at != 0 {
		prefetch.Lines(at+uintptr(position(h, sh.size.Load()))*unsafe.Sizeof(entry{}), 3) // nine in ten entries lie in the first two
	}
}

// Visit is one visit of a session, as the cookie tells it.
type Visit[U Owner] struct {
	ID     uint64
	At     U     // that the cookie names; nil: unknown
	Start  int64 // Unix seconds
	Issued int64 // of the cookie, Unix seconds
	Anew   int64 // of the cookie that the answer will bring; 0: none
	Marks  uint32
	Seat   bool // the session is already counted at up
}

// EntryView is what the table knows of a session.
type EntryView[U Owner] struct {
	At     U // where it is; differs from the cookie's after a move that the cookie does not know of
	Marks  uint32
	Issued int64 // Unix seconds
	Start  int64 // Unix seconds
	Last   int64 // Unix seconds
	Known  bool
	Names  uint64 // of an alias: the session
}

// VisitResult is what the table knew of a session that came: an EntryView as far as Pick needs it. The
// compiler keeps four words in registers; a greater struct is copied from place to place,
// which takes longer than to look at it.
type VisitResult[U Owner] struct {
	At     U
	Marks  uint32
	Issued int64 // Unix seconds
}

// Visit notes a visit and returns what was known before it. A cookie that is
// older than the session's last move does not undo that move.
func (s *Table[U]) Visit(v *Visit[U], now int64) VisitResult[U] {
	if s.born.Load() == 0 {
		s.born.CompareAndSwap(0, now)
	}
	h := Mix(v.ID)
	sh := s.shard(h)
	sh.mu.Lock()
	f := s.visitLocked(sh, h, v, now)
	sh.mu.Unlock()
	return f
}

func (s *Table[U]) visitLocked(sh *shard, h uint64, v *Visit[U], now int64) VisitResult[U] {
	i := sh.find(v.ID, h)
	if i < 0 {
		if !absent(v.At) {
			s.insert(sh, v, now)
		}
		return VisitResult[U]{At: v.At, Issued: v.Issued}
	}
	e := &sh.e[i]
	up := (*s.slots.Load())[e.slot()]
	f := VisitResult[U]{At: up, Marks: e.where &^ slotMask, Issued: fromStamp(e.issued)}
	if e.where&MarkEnded != 0 {
		return f
	}
	e.where |= markReturned
	if e.where&markLight != 0 {
		weigh(e, up)
	}
	e.last = max(e.last, stamp(now))
	if e.where&MarkUntold != 0 {
		e.where |= MarkOwed // somebody passes the one that tells, which may fail
	}
	if issued := toStamp(v.Issued); issued >= e.issued {
		if e.where&MarkUntold == 0 {
			e.where &^= MarkOwed // a cookie from after the move came with an answer
		}
		e.issued = issued
		if !absent(v.At) && v.At != up {
			s.relocate(e, v.At)
			f.At = v.At
		}
	}
	if v.Anew != 0 {
		e.issued = max(e.issued, toStamp(v.Anew))
	}
	return f
}

func (s *Table[U]) insert(sh *shard, v *Visit[U], now int64) {
	s.makeRoom(sh)
	e := entry{id: v.ID, last: stamp(now), start: toStamp(v.Start), issued: toStamp(max(v.Issued, v.Anew)), where: v.At.Seats().slot | v.Marks}
	sh.put(e)
	if e.counted() && !v.Seat {
		v.At.Seats().live.Add(1)
	}
}

// relocate moves a session to another upstream.
func (s *Table[U]) relocate(e *entry, to U) {
	if e.counted() {
		from := (*s.slots.Load())[e.slot()]
		weigh(e, from)
		if !absent(from) {
			from.Seats().live.Add(-1)
		}
		to.Seats().live.Add(1)
	}
	e.where = e.where&^(slotMask|MarkMove) | to.Seats().slot
}

// Settle notes that a session is on another upstream from now on, with a cookie
// issued at the given second.
func (s *Table[U]) Settle(v Visit[U], now int64) {
	h := Mix(v.ID)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(v.ID, h)
	if i < 0 {
		s.insert(sh, &v, now)
		return
	}
	e := &sh.e[i]
	e.last, e.issued = stamp(now), max(e.issued, toStamp(v.Issued))
	if v.Seat && e.counted() {
		v.At.Seats().live.Add(-1) // relocate counts it
	}
	s.relocate(e, v.At)
	e.where = e.where&^newsMarks | v.Marks
}

// ClaimNews reports whether a visitor is still owed the news of a move, and lets the caller bring it. It
// must call SettleNews.
func (s *Table[U]) ClaimNews(id uint64) bool {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 || sh.e[i].where&(MarkOwed|MarkUntold) != MarkOwed {
		return false
	}
	sh.e[i].where = sh.e[i].where&^MarkOwed | MarkUntold
	return true
}

// SettleNews notes whether the news of a move was answered, else it is owed.
func (s *Table[U]) SettleNews(id uint64, told bool) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 {
		return
	}
	e := &sh.e[i]
	e.where &^= newsMarks
	if !told {
		e.where |= MarkOwed
	}
}

// Move is a session's move from one owner to another.
type Move[U Owner] struct {
	ID       uint64
	From, To U
	Before   int64 // issue of the cookie that named From, Unix seconds
	Issued   int64 // and of the one that names To
}

// Revert undoes a move whose target did not answer, unless something newer has
// happened.
func (s *Table[U]) Revert(m Move[U]) {
	h := Mix(m.ID)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(m.ID, h)
	if i < 0 {
		return
	}
	e := &sh.e[i]
	if e.slot() != m.To.Seats().slot || e.issued != toStamp(m.Issued) {
		return
	}
	if absent(m.From) || m.From.Gone() {
		s.forget(sh, i) // it is nowhere
		return
	}
	if e.where&MarkOwed != 0 {
		// Others went to the new place meanwhile, untold, and their cookies say so. The next
		// request brings the news: to be known from theirs, what it answers to is younger.
		e.where &^= MarkUntold
		e.issued++
		return
	}
	e.issued = toStamp(m.Before)
	e.where &^= MarkUntold
	s.relocate(e, m.From)
}

// Keep notes that a session is in use, as long streams do, and that a cookie may be
// outstanding that was issued now.
func (s *Table[U]) Keep(id uint64, now int64, issued bool) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 {
		e := &sh.e[i]
		if e.where&markLight != 0 {
			weigh(e, (*s.slots.Load())[e.slot()]) // an answer that lasts is somebody who is there
		}
		e.last = max(e.last, stamp(now))
		if issued {
			e.issued = max(e.issued, stamp(now))
		}
	}
}

// Promise notes that an answer will bring a cookie that is issued at a second.
func (s *Table[U]) Promise(id uint64, issued int64) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 {
		sh.e[i].issued = max(sh.e[i].issued, toStamp(issued))
	}
}

// Cancel removes a session that never came to be.
func (s *Table[U]) Cancel(id uint64) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 && sh.e[i].where&(markReturned|MarkEnded) == 0 {
		s.forget(sh, i)
	}
}

// Confirm notes that an answer to a first burst brings its visitor a cookie, also after
// another answer has withdrawn the session.
func (s *Table[U]) Confirm(v Visit[U], now int64) {
	h := Mix(v.ID)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(v.ID, h)
	if i < 0 {
		v.Marks = markKept
		s.insert(sh, &v, now)
		return
	}
	sh.e[i].where |= markKept
}

// Withdraw forgets a session for which no answer to its first burst brings a cookie.
func (s *Table[U]) Withdraw(id uint64) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 && sh.e[i].where&(markKept|MarkEnded) == 0 {
		s.forget(sh, i)
	}
}

// Remove forgets a session, unless an operator has ended it.
func (s *Table[U]) Remove(id uint64) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 && sh.e[i].where&MarkEnded == 0 {
		s.forget(sh, i)
	}
}

// Rename gives a session another id, unless there is one of that id.
func (s *Table[U]) Rename(from, to uint64) {
	h := Mix(from)
	sh := s.shard(h)
	sh.mu.Lock()
	i := sh.find(from, h)
	if i < 0 {
		sh.mu.Unlock()
		return
	}
	e, up := sh.e[i], (*s.slots.Load())[sh.e[i].slot()]
	s.forget(sh, i)
	sh.mu.Unlock()
	if !absent(up) {
		e.id = to
		s.adopt(e, up)
	}
}

// Lookup returns what is known of a session, without noting a visit.
func (s *Table[U]) Lookup(id uint64) EntryView[U] {
	if id == 0 {
		return EntryView[U]{}
	}
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 {
		return EntryView[U]{}
	}
	e := sh.e[i]
	f := EntryView[U]{At: (*s.slots.Load())[e.slot()], Marks: e.where &^ slotMask, Last: fromStamp(e.last), Known: true}
	if e.alias() {
		f.Names = uint64(e.start)<<32 | uint64(e.issued)
	} else {
		f.Issued, f.Start = fromStamp(e.issued), fromStamp(e.start)
	}
	return f
}
