package sessions

// Alias notes that an application's token leads to an upstream, and to a session there.
func (s *Table[U]) Alias(id uint64, up U, session uint64, now int64) {
	h := Mix(id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(id, h)
	if i < 0 {
		s.makeRoom(sh)
		sh.put(entry{id: id})
		i = sh.find(id, h)
	}
	e := &sh.e[i]
	e.last, e.where = stamp(now), MarkAlias|up.Seats().slot
	e.start, e.issued = uint32(session>>32), uint32(session)
}
