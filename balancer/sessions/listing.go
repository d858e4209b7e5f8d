package sessions

import (
	"cmp"
	"slices"
)

// Info is one session as people see it.
type Info[U Owner] struct {
	ID       uint64
	Upstream U
	Start    int64 // Unix seconds
	Last     int64 // last use, Unix seconds
	Returned bool  // seen more than once
	Ended    bool  // by an operator: its cookie will be refused
	Moving   bool  // by an operator: its next request is placed elsewhere
}

// each calls f for every session, shard by shard, under the shard's lock. f gets the
// slots as they are now, in which absent owners are nil.
func (s *Table[U]) each(f func(e *entry, u U)) {
	slots := *s.slots.Load()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for j := range sh.e {
			if e := &sh.e[j]; e.id != 0 && int(e.slot()) < len(slots) {
				f(e, slots[e.slot()])
			}
		}
		sh.mu.Unlock()
	}
}

func info[U Owner](e *entry, u U) Info[U] {
	return Info[U]{
		ID: e.id, Upstream: u, Start: fromStamp(e.start), Last: fromStamp(e.last),
		Returned: e.where&markReturned != 0, Ended: e.where&MarkEnded != 0, Moving: e.where&MarkMove != 0,
	}
}

// List returns up to limit sessions of a pool, the most recently used first, and how
// many there are. keep may be nil; it must be quick, as it runs under a lock.
func (s *Table[U]) List(pool string, limit int, keep func(*Info[U]) bool) (list []Info[U], total int) {
	limit = max(limit, 1)
	newer := func(a, b Info[U]) int { return cmp.Compare(b.Last, a.Last) }
	s.each(func(e *entry, u U) {
		if absent(u) || u.Pool() != pool || e.where&MarkAlias != 0 {
			return
		}
		in := info(e, u)
		if keep != nil && !keep(&in) {
			return
		}
		total++
		if list = append(list, in); len(list) >= 2*limit+64 {
			slices.SortFunc(list, newer)
			list = list[:limit]
		}
	})
	slices.SortFunc(list, newer)
	return list[:min(len(list), limit)], total
}

// Find returns a session by its id.
func (s *Table[U]) Find(id uint64) (Info[U], bool) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 {
		return Info[U]{}, false
	}
	e := &sh.e[i]
	return info(e, (*s.slots.Load())[e.slot()]), true
}

// End ends a session: its cookie will be refused, and its visitor placed anew. It
// reports whether the session was there.
func (s *Table[U]) End(id uint64) bool {
	return s.mark(id, func(e *entry) {
		if e.counted() {
			u := (*s.slots.Load())[e.slot()]
			weigh(e, u)
			if !absent(u) {
				u.Seats().live.Add(-1)
			}
		}
		e.where |= MarkEnded
	})
}

// Move lets the next request of a session be placed on another upstream, as if its
// instance were lost, with the cause "operator". It reports whether the session was there.
func (s *Table[U]) Move(id uint64) bool {
	return s.mark(id, func(e *entry) { e.where |= MarkMove })
}

func (s *Table[U]) mark(id uint64, f func(*entry)) bool {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 || !sh.e[i].counted() {
		return false
	}
	f(&sh.e[i])
	return true
}

// TableStats are the numbers of the table itself.
type TableStats struct {
	Entries, Room int    // held, and how many fit
	Bytes         int    // of all shards
	Evicted       uint64 // gave way at the bound: counts are too low since
	Expired       uint64
	Born          int64 // first use, Unix milliseconds; 0: never used
}

// Stats returns the numbers of the table.
func (s *Table[U]) Stats() TableStats {
	t := TableStats{Room: s.room * len(s.shards), Evicted: s.evicted.Load(), Expired: s.expired.Load(), Born: s.born.Load()}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		t.Entries += sh.n
		t.Bytes += cap(sh.e) * entrySize
		sh.mu.Unlock()
	}
	t.Bytes += len(s.shards) * 64
	return t
}
