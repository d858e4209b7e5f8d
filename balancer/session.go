package balancer

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

// Sessions is the table of live sessions of all pools: who was where, and when
// last. It only counts and lists. Without it every cookie still leads to its
// instance.
//
// An entry takes 24 bytes, in shards that grow by a quarter when they are 75 %
// full: 32 to 40 bytes for each session. A table that is more than half full lives in
// one piece of memory (see arena): 36 to 48 bytes, and as much as both while it moves there, which takes some
// seconds. At the bound the least recently used of some 32 neighbours gives way, first
// those that were never seen a second time (robots that ignore cookies). Counts are exact while nothing
// gives way, except that a session whose time is over is counted until the sweep reaches it.
type Sessions struct {
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
	slots atomic.Pointer[[]*Upstream]
	sets  atomic.Pointer[[]clockSet] // times that the clock was set, the oldest first
	free  []uint32
	dying []dying
	round uint32 // complete sweeps
}

// dying is a slot whose upstream has left: it can be used again once a whole
// sweep has removed its sessions.
type dying struct {
	slot  uint32
	round uint32
}

// NewSessions returns a table for about limit sessions; 0 means
// DefaultMaxSessions. Chance fills shards unevenly, so up to a few percent more may fit.
func NewSessions(limit int) *Sessions {
	if limit <= 0 {
		limit = DefaultMaxSessions
	}
	n := 1
	for n < maxShards && limit/n > shardAim {
		n *= 2
	}
	s := &Sessions{shards: make([]shard, n), shift: uint(64 - bits.Len(uint(n-1)))}
	s.room = limit / n
	if n > 1 {
		s.room += int(4 * math.Sqrt(float64(s.room)))
	}
	s.arena = newArena(s.room)
	s.slots.Store(&[]*Upstream{nil})
	return s
}

func stamp(now int64) uint32   { return toStamp(now / 1000) }
func toStamp(sec int64) uint32 { return uint32(max(sec-secondsStart, 1)) }
func fromStamp(s uint32) int64 { return int64(s) + secondsStart }

func (s *Sessions) shard(h uint64) *shard { return &s.shards[h>>s.shift&uint64(len(s.shards)-1)] }

// expect has the processor fetch the entry of a session that is going to be asked for.
// At a million sessions an entry is in no cache as a rule, and the way to memory takes
// as long as everything else about a request's choice together.
func (s *Sessions) expect(id uint64) {
	h := mix(id)
	sh := s.shard(h)
	if at := sh.at.Load(); at != 0 {
		prefetch.Lines(at+uintptr(position(h, sh.size.Load()))*unsafe.Sizeof(entry{}), 3) // nine in ten entries lie in the first two
	}
}

// use is one visit of a session, as the cookie tells it.
type use struct {
	id     uint64
	up     *Upstream // that the cookie names; nil: unknown
	start  int64     // Unix seconds
	issued int64     // of the cookie, Unix seconds
	anew   int64     // of the cookie that the answer will bring; 0: none
	marks  uint32
	seat   bool // the session is already counted at up
}

// found is what the table knows of a session.
type found struct {
	up     *Upstream // where it is; differs from the cookie's after a move that the cookie does not know of
	marks  uint32
	issued int64 // Unix seconds
	start  int64 // Unix seconds
	last   int64 // Unix seconds
	known  bool
	names  uint64 // of an alias: the session
}

// met is what the table knew of a session that came: found as far as Pick needs it. The
// compiler keeps four words in registers; a greater struct is copied from place to place,
// which takes longer than to look at it.
type met struct {
	up     *Upstream
	marks  uint32
	issued int64 // Unix seconds
}

// visit notes a visit and returns what was known before it. A cookie that is
// older than the session's last move does not undo that move.
func (s *Sessions) visit(v *use, now int64) met {
	if s.born.Load() == 0 {
		s.born.CompareAndSwap(0, now)
	}
	h := mix(v.id)
	sh := s.shard(h)
	sh.mu.Lock()
	f := s.visitLocked(sh, h, v, now)
	sh.mu.Unlock()
	return f
}

func (s *Sessions) visitLocked(sh *shard, h uint64, v *use, now int64) met {
	i := sh.find(v.id, h)
	if i < 0 {
		if v.up != nil {
			s.insert(sh, v, now)
		}
		return met{up: v.up, issued: v.issued}
	}
	e := &sh.e[i]
	up := (*s.slots.Load())[e.slot()]
	f := met{up: up, marks: e.where &^ slotMask, issued: fromStamp(e.issued)}
	if e.where&markEnded != 0 {
		return f
	}
	e.where |= markReturned
	e.weigh(up)
	e.last = max(e.last, stamp(now))
	if e.where&markUntold != 0 {
		e.where |= markOwed // somebody passes the one that tells, which may fail
	}
	if issued := toStamp(v.issued); issued >= e.issued {
		if e.where&markUntold == 0 {
			e.where &^= markOwed // a cookie from after the move came with an answer
		}
		e.issued = issued
		if v.up != nil && v.up != up {
			s.relocate(e, v.up)
			f.up = v.up
		}
	}
	if v.anew != 0 {
		e.issued = max(e.issued, toStamp(v.anew))
	}
	return f
}

func (s *Sessions) insert(sh *shard, v *use, now int64) {
	s.makeRoom(sh)
	e := entry{id: v.id, last: stamp(now), start: toStamp(v.start), issued: toStamp(max(v.issued, v.anew)), where: v.up.slot | v.marks}
	sh.put(e)
	if e.counted() && !v.seat {
		v.up.sessions.Add(1)
	}
}

// relocate moves a session to another upstream.
func (s *Sessions) relocate(e *entry, to *Upstream) {
	if e.counted() {
		from := (*s.slots.Load())[e.slot()]
		e.weigh(from)
		if from != nil {
			from.sessions.Add(-1)
		}
		to.sessions.Add(1)
	}
	e.where = e.where&^(slotMask|markMove) | to.slot
}

// move notes that a session is on another upstream from now on, with a cookie
// issued at the given second.
func (s *Sessions) move(v use, now int64) {
	h := mix(v.id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(v.id, h)
	if i < 0 {
		s.insert(sh, &v, now)
		return
	}
	e := &sh.e[i]
	e.last, e.issued = stamp(now), max(e.issued, toStamp(v.issued))
	if v.seat && e.counted() {
		v.up.sessions.Add(-1) // relocate counts it
	}
	s.relocate(e, v.up)
	e.where = e.where&^newsMarks | v.marks
}

// claim reports whether a visitor is still owed the news of a move, and lets the caller bring it. It
// must call settleNews.
func (s *Sessions) claim(id uint64) bool {
	h := mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 || sh.e[i].where&(markOwed|markUntold) != markOwed {
		return false
	}
	sh.e[i].where = sh.e[i].where&^markOwed | markUntold
	return true
}

// settleNews notes whether the news of a move was answered, else it is owed.
func (s *Sessions) settleNews(id uint64, told bool) {
	h := mix(id)
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
		e.where |= markOwed
	}
}

// revert undoes a move whose target did not answer, unless something newer has
// happened.
func (s *Sessions) revert(c *Choice) {
	h := mix(c.Session)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(c.Session, h)
	if i < 0 {
		return
	}
	e := &sh.e[i]
	if e.slot() != c.Upstream.slot || e.issued != toStamp(c.issued) {
		return
	}
	if c.home == nil || c.home.gone.Load() {
		s.forget(sh, i) // it is nowhere
		return
	}
	if e.where&markOwed != 0 {
		// Others went to the new place meanwhile, untold, and their cookies say so. The next
		// request brings the news: to be known from theirs, what it answers to is younger.
		e.where &^= markUntold
		e.issued++
		return
	}
	e.issued = toStamp(c.before)
	e.where &^= markUntold
	s.relocate(e, c.home)
}

// keep notes that a session is in use, as long streams do, and that a cookie may be
// outstanding that was issued now.
func (s *Sessions) keep(id uint64, now int64, issued bool) {
	h := mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 {
		e := &sh.e[i]
		e.weigh((*s.slots.Load())[e.slot()]) // an answer that lasts is somebody who is there
		e.last = max(e.last, stamp(now))
		if issued {
			e.issued = max(e.issued, stamp(now))
		}
	}
}

// promise notes that an answer will bring a cookie that is issued at a second.
func (s *Sessions) promise(id uint64, issued int64) {
	h := mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 {
		sh.e[i].issued = max(sh.e[i].issued, toStamp(issued))
	}
}

// cancel removes a session that never came to be.
func (s *Sessions) cancel(id uint64) {
	h := mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 && sh.e[i].where&(markReturned|markEnded) == 0 {
		s.forget(sh, i)
	}
}

// confirm notes that an answer to a first burst brings its visitor a cookie, also after
// another answer has withdrawn the session.
func (s *Sessions) confirm(v use, now int64) {
	h := mix(v.id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(v.id, h)
	if i < 0 {
		v.marks = markKept
		s.insert(sh, &v, now)
		return
	}
	sh.e[i].where |= markKept
}

// withdraw forgets a session for which no answer to its first burst brings a cookie.
func (s *Sessions) withdraw(id uint64) {
	h := mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 && sh.e[i].where&(markKept|markEnded) == 0 {
		s.forget(sh, i)
	}
}

// remove forgets a session, unless an operator has ended it.
func (s *Sessions) remove(id uint64) {
	h := mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i := sh.find(id, h); i >= 0 && sh.e[i].where&markEnded == 0 {
		s.forget(sh, i)
	}
}

// rename gives a session another id, unless there is one of that id.
func (s *Sessions) rename(from, to uint64) {
	h := mix(from)
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
	if up != nil {
		e.id = to
		s.adopt(e, up)
	}
}

// lookup returns what is known of a session, without noting a visit.
func (s *Sessions) lookup(id uint64) found {
	h := mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 {
		return found{}
	}
	e := sh.e[i]
	f := found{up: (*s.slots.Load())[e.slot()], marks: e.where &^ slotMask, last: fromStamp(e.last), known: true}
	if e.alias() {
		f.names = uint64(e.start)<<32 | uint64(e.issued)
	} else {
		f.issued, f.start = fromStamp(e.issued), fromStamp(e.start)
	}
	return f
}
