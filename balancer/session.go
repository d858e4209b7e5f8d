package balancer

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"portico/internal/prefetch"
)

// DefaultMaxSessions bounds the session table where Options name no bound. A
// full table takes about 40 MB.
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
// full: 32 to 40 bytes for each session. At the bound the least recently used
// of some 32 neighbours gives way, first those that were never seen a second time
// (robots that ignore cookies). Counts are exact while nothing gives way, except
// that a session whose time is over is counted until the sweep reaches it.
type Sessions struct {
	shards []shard
	shift  uint // of a mixed id, to get the shard
	room   int  // entries of one shard, at most

	born    atomic.Int64 // first use, Unix milliseconds
	part    atomic.Uint32
	evicted atomic.Uint64
	expired atomic.Uint64

	mu    sync.Mutex // guards what follows, and replacing slots
	slots atomic.Pointer[[]*Upstream]
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

// shard is a part of the table with its lock, on a cache line of its own.
type shard struct {
	mu   sync.Mutex
	e    []entry
	n    int
	hand int // where the search for a victim goes on

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

// Marks of an entry, above the 24 bits of its slot.
const (
	slotMask     = 1<<24 - 1
	markReturned = 1 << 24 // seen more than once
	markEnded    = 1 << 25 // an operator ended it: its cookie is refused
	markMove     = 1 << 26 // an operator wants it elsewhere: placed anew at its next request
	markAlias    = 1 << 27 // an application's own token, not counted
	markKept     = 1 << 28 // the application has opened a session in the first burst
	noSlot       = 0
)

func (e *entry) slot() uint32 { return e.where & slotMask }

// counted reports whether e is one of its upstream's live sessions.
func (e *entry) counted() bool { return e.where&(markEnded|markAlias) == 0 }

// alias reports whether e is an application's token.
func (e *entry) alias() bool { return e.where&markAlias != 0 }

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
	s.slots.Store(&[]*Upstream{nil})
	return s
}

func stamp(now int64) uint32   { return toStamp(now / 1000) }
func toStamp(sec int64) uint32 { return uint32(max(sec-secondsStart, 1)) }
func fromStamp(s uint32) int64 { return int64(s) + secondsStart }

// mix spreads ids that callers made without much care.
func mix(id uint64) uint64 {
	id ^= id >> 32
	id *= 0xd6e8feb86659fd93
	id ^= id >> 32
	return id * 0xd6e8feb86659fd93
}

func (s *Sessions) shard(h uint64) *shard { return &s.shards[h>>s.shift&uint64(len(s.shards)-1)] }

// home returns where the entry with a mixed id belongs. The shard took the
// upper bits, so they are shifted out of the way.
func (sh *shard) home(h uint64) int {
	return position(h, uint64(len(sh.e)))
}

func position(h, size uint64) int {
	hi, _ := bits.Mul64(h<<8, size)
	return int(hi)
}

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
	i := sh.home(mix(e.id))
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
		home := sh.home(mix(sh.e[j].id))
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
func (sh *shard) resize(size int) {
	old := sh.e
	sh.e, sh.n, sh.hand = make([]entry, size), 0, 0
	sh.at.Store(uintptr(unsafe.Pointer(unsafe.SliceData(sh.e))))
	sh.size.Store(uint64(size))
	for _, e := range old {
		if e.id != 0 {
			sh.put(e)
		}
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
	e.last = max(e.last, stamp(now))
	if issued := toStamp(v.issued); issued >= e.issued {
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

// makeRoom sees to it that one more entry can be put.
func (s *Sessions) makeRoom(sh *shard) {
	if sh.n >= s.room {
		s.evict(sh)
	}
	sh.grow()
}

// relocate moves a session to another upstream.
func (s *Sessions) relocate(e *entry, to *Upstream) {
	if e.counted() {
		if from := (*s.slots.Load())[e.slot()]; from != nil {
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
	e.issued = toStamp(c.before)
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
		e.last = max(e.last, stamp(now))
		if issued {
			e.issued = max(e.issued, stamp(now))
		}
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

// evict removes the least recently used of the next few entries, preferring
// those that were never seen again, for which it looks further. Ended ones stay,
// because they are what refuses their cookie.
func (s *Sessions) evict(sh *shard) {
	victim, worst := -1, uint64(math.MaxUint64)
	for seen := 0; seen < len(sh.e) && (seen < victims || worst >= 1<<32 && seen < 16*victims); seen++ {
		i := sh.hand
		if sh.hand++; sh.hand >= len(sh.e) {
			sh.hand = 0
		}
		e := &sh.e[i]
		if e.id == 0 {
			continue
		}
		age := uint64(e.last)
		if e.where&markReturned != 0 {
			age |= 1 << 32
		}
		if e.where&markEnded != 0 {
			age |= 1 << 33
		}
		if age < worst {
			victim, worst = i, age
		}
	}
	if victim >= 0 {
		s.forget(sh, victim)
		s.evicted.Add(1)
	}
}

// forget removes the entry at i and its count.
func (s *Sessions) forget(sh *shard, i int) {
	e := &sh.e[i]
	if e.counted() {
		if u := (*s.slots.Load())[e.slot()]; u != nil {
			u.sessions.Add(-1)
		}
	}
	sh.remove(i)
}

// span is how long sessions of one upstream last, in seconds.
type span struct {
	gone  bool
	grace uint32 // since the newest cookie's issue
	life  uint32 // since the start; 0: for ever
}

func (s *Sessions) spans() []span {
	slots := *s.slots.Load()
	out := make([]span, len(slots))
	for i, u := range slots {
		if u == nil || u.gone.Load() {
			out[i].gone = true
			continue
		}
		c := u.pool.Config()
		out[i].grace, out[i].life = uint32(grace(c.Idle)), uint32(c.Life/time.Second)
	}
	return out
}

// over reports whether a session has ended by its age at second now.
func (p span) over(e *entry, now uint32) bool {
	switch {
	case p.gone:
		return true
	case e.alias(), e.where&markEnded != 0: // what was ended refuses its tokens for as long as they are known
		return now > e.last && now-e.last > p.grace
	}
	return now > e.issued && now-e.issued > p.grace || p.life > 0 && now > e.start && now-e.start > p.life
}

// Sweep ends sessions whose time is over, in an eighth of the table. No shard is
// held for longer than the look at a few thousand entries takes.
func (s *Sessions) Sweep(now int64) {
	part := int(s.part.Add(1)-1) % sweepParts
	spans, second := s.spans(), stamp(now)
	for i := part; i < len(s.shards); i += sweepParts {
		s.sweepShard(&s.shards[i], spans, second)
	}
	if part == sweepParts-1 {
		s.reuseSlots()
	}
}

// SweepAll ends all sessions whose time is over.
func (s *Sessions) SweepAll(now int64) {
	for range sweepParts {
		s.Sweep(now)
	}
}

func (s *Sessions) sweepShard(sh *shard, spans []span, now uint32) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := 0; i < len(sh.e); {
		e := &sh.e[i]
		if e.id != 0 && int(e.slot()) < len(spans) && spans[e.slot()].over(e, now) {
			s.forget(sh, i) // another entry may have come to i: look again
			s.expired.Add(1)
			continue
		}
		i++
	}
	if len(sh.e) > 4*minShard && sh.n*4 < len(sh.e) {
		sh.resize(max(minShard, sh.n*2))
	}
}

// add gives an upstream a slot.
func (s *Sessions) add(u *Upstream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.slots.Load()
	slots := append(make([]*Upstream, 0, len(old)+1), old...)
	if n := len(s.free); n > 0 {
		u.slot, s.free = s.free[n-1], s.free[:n-1]
		slots[u.slot] = u
	} else {
		u.slot = uint32(len(slots))
		slots = append(slots, u)
	}
	s.slots.Store(&slots)
}

// drop takes note that an upstream has left. Its sessions stay listed until they
// are moved or swept.
func (s *Sessions) drop(u *Upstream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dying = append(s.dying, dying{slot: u.slot, round: s.round})
}

// reuseSlots frees the slots whose sessions a whole sweep has removed.
func (s *Sessions) reuseSlots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round++
	var slots []*Upstream
	keep := s.dying[:0]
	for _, d := range s.dying {
		if s.round-d.round < 3 {
			keep = append(keep, d)
			continue
		}
		if slots == nil {
			slots = append(slots, *s.slots.Load()...)
		}
		slots[d.slot] = nil
		s.free = append(s.free, d.slot)
	}
	s.dying = keep
	if slots != nil {
		s.slots.Store(&slots)
	}
}
