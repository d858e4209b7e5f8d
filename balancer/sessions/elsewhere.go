package sessions

// Elsewhere notes what another proxy of the cluster did with a session at now (Unix
// milliseconds): its visitor is on the upstream to from then on. A session that this table does
// not know stays unknown, and one that came back here later is left alone. With a nil to it is
// forgotten.
func (s *Table[U]) Elsewhere(id uint64, to U, now int64) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 {
		return
	}
	e := &sh.e[i]
	if e.where&(MarkEnded|MarkAlias) != 0 || e.issued > stamp(now) {
		return
	}
	if absent(to) {
		s.forget(sh, i)
		return
	}
	e.last, e.issued = max(e.last, stamp(now)), stamp(now)
	s.relocate(e, to)
}

// MarkAt is End, or Move if end is false, for a session that another proxy of the
// cluster knows to be on up since start (Unix seconds): it is entered if this table does not
// have it, because its visitor may come here next. now is in Unix milliseconds.
func (s *Table[U]) MarkAt(id uint64, up U, start int64, end bool, now int64) {
	mark := s.Move
	if end {
		mark = s.End
	}
	if mark(id) {
		return
	}
	marks := uint32(MarkMove)
	if end {
		marks = MarkEnded
	}
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.find(id, h) < 0 {
		s.insert(sh, &Visit[U]{ID: id, At: up, Start: start, Issued: now / 1000, Marks: marks}, now)
	}
}
