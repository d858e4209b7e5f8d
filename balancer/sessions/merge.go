package sessions

import "io"

// Merge reads what Save wrote into a table that is in use: sessions that
// are not in it are taken, of the others the later use and the newer cookie count. It returns how
// many were taken. It is for what a process leaves that served beside this one for a while; what
// that knew before, Restore has read.
func (s *Table[U]) Merge(r io.ReadSeeker, find func(pool, id string) U) (n int, err error) {
	if err := checkSum(r); err != nil {
		return 0, err
	}
	n, _, err = readSessions(r, find, s.merge)
	return n, err
}

// merge takes an entry of another table that was in use beside this one.
func (s *Table[U]) merge(e entry, u U) bool {
	if s.adopt(e, u) {
		return true
	}
	h := Mix(e.id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(e.id, h)
	if i < 0 {
		return false
	}
	x := &sh.e[i]
	x.last = max(x.last, e.last)
	if x.alias() || e.alias() || x.where&MarkEnded != 0 {
		return false
	}
	x.where |= e.where & (markReturned | markKept)
	if e.where&markReturned != 0 {
		weigh(x, (*s.slots.Load())[x.slot()])
	}
	s.mergeMove(x, &e, u)
	return false
}

// mergeMove takes over where the process before has the session, and what became of the news of its move there.
func (s *Table[U]) mergeMove(x, e *entry, u U) {
	own := x.where&(MarkUntold|markFormer) == MarkUntold // the move is told of here
	passed := x.where&MarkOwed != 0                      // others went to the new place here, while the news was on its way there
	if e.issued > x.issued {
		x.issued = e.issued
		if x.slot() != u.Seats().slot {
			s.relocate(x, u)
		}
		if !own {
			x.where = x.where&^newsMarks | e.where&newsMarks
			if e.where&MarkUntold != 0 {
				x.where |= markFormer
			}
		}
		return
	}
	if own || e.where&MarkUntold != 0 {
		return
	}
	switch former := x.where&markFormer != 0; {
	case former && e.issued < x.issued && u.Seats().slot != x.slot() && !passed: // given up: the session is where it was
		x.issued = e.issued
		x.where &^= newsMarks
		s.relocate(x, u)
	case former && (e.where&MarkOwed != 0 || e.issued < x.issued && u.Seats().slot != x.slot()):
		x.oweNews()
	case e.issued == x.issued && e.where&MarkOwed == 0, former:
		x.where &^= newsMarks // it has been told
	}
}

// newsMarks are those that say whether the news of a move was told.
const newsMarks = MarkUntold | markFormer | MarkOwed

// oweNews has the next request tell of a move whose request, in the process before, was not answered. The cookies of those that
// passed it say so too: to be known from theirs, what the next one answers to is younger.
func (e *entry) oweNews() {
	if e.where&MarkOwed != 0 {
		e.issued++
	}
	e.where = e.where&^newsMarks | MarkOwed
}

// SettleFormer says that the process before this one has ended, or that there was none: of news that it was to bring, and has not told
// the outcome of, nobody knows whether they were brought. They are owed.
func (s *Table[U]) SettleFormer() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for j := range sh.e {
			if e := &sh.e[j]; e.id != 0 && e.where&markFormer != 0 {
				e.oweNews()
			}
		}
		sh.mu.Unlock()
	}
}
