package sessions

import (
	"math"
	"time"

	"portico/balancer/meter"
	"portico/balancer/seal"
)

// makeRoom sees to it that one more entry can be put.
func (s *Table[U]) makeRoom(sh *shard) {
	if sh.n >= s.room {
		s.evict(sh)
	}
	sh.grow()
}

// evict removes the least recently used of the next few entries, preferring
// those that were never seen again, for which it looks further. Ended ones stay,
// because they are what refuses their cookie.
func (s *Table[U]) evict(sh *shard) {
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
		if e.where&MarkEnded != 0 {
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
func (s *Table[U]) forget(sh *shard, i int) {
	e := &sh.e[i]
	if e.counted() {
		u := (*s.slots.Load())[e.slot()]
		weigh(e, u)
		if !absent(u) {
			u.Seats().live.Add(-1)
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

func (s *Table[U]) spans() []span {
	slots := *s.slots.Load()
	out := make([]span, len(slots))
	for i, u := range slots {
		if absent(u) || u.Gone() {
			out[i].gone = true
			continue
		}
		idle, life := u.Lifetime()
		out[i].grace, out[i].life = uint32(seal.Grace(idle)), uint32(life/time.Second)
	}
	return out
}

// over reports whether a session has ended by its age at second now.
func (p span) over(e *entry, now uint32) bool {
	switch {
	case p.gone:
		return true
	case e.alias(), e.where&MarkEnded != 0: // what was ended refuses its tokens for as long as they are known
		return now > e.last && now-e.last > p.grace
	}
	return now > e.issued && now-e.issued > p.grace || p.life > 0 && now > e.start && now-e.start > p.life
}

// seatFor is for how many seconds the session of a visitor who has not come back holds a seat, until
// the sweep that follows. A browser comes back for the pictures of its first page within a second or two;
// monitors and robots that ignore cookies never do, and begin a session with each request.
const seatFor = 30

// stranger reports whether nobody has come back for a session in time.
func (e *entry) stranger(now uint32) bool {
	return e.counted() && e.where&(markReturned|markLight) == 0 && now > e.last && now-e.last > seatFor
}

// Sweep ends sessions whose time is over, in an eighth of the table. No shard is
// held for longer than the look at a few thousand entries takes.
func (s *Table[U]) Sweep(now int64) {
	part := int(s.part.Add(1)-1) % sweepParts
	spans, second := s.spans(), stamp(now)
	meter.Raise(&s.swept, now)
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	for i := part; i < len(s.shards); i += sweepParts {
		s.sweepShard(i, spans, second)
	}
	if part == sweepParts-1 {
		s.reuseSlots()
		s.arena.decide(len(s.shards))
	}
}

// SweepAll ends all sessions whose time is over.
func (s *Table[U]) SweepAll(now int64) {
	for range sweepParts {
		s.Sweep(now)
	}
}

func (s *Table[U]) sweepShard(part int, spans []span, now uint32) {
	sh := &s.shards[part]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := 0; i < len(sh.e); {
		e := &sh.e[i]
		if e.id != 0 && int(e.slot()) < len(spans) && spans[e.slot()].over(e, now) {
			s.forget(sh, i) // another entry may have come to i: look again
			s.expired.Add(1)
			continue
		}
		if e.id != 0 && e.stranger(now) {
			if u := (*s.slots.Load())[e.slot()]; !absent(u) {
				e.where |= markLight
				u.Seats().light.Add(1)
			}
		}
		i++
	}
	s.arena.held += sh.n
	s.arena.settle(sh, part)
	if !sh.settled && len(sh.e) > 4*minShard && sh.n*4 < len(sh.e) {
		sh.resize(max(minShard, sh.n*2))
	}
}
