package sessions

// dying is a slot whose owner has left: it can be used again once a whole
// sweep has removed its sessions.
type dying struct {
	slot  uint32
	round uint32
}

// Add gives an owner a slot.
func (s *Table[U]) Add(u U) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.slots.Load()
	slots := append(make([]U, 0, len(old)+1), old...)
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		slots[slot], u.Seats().slot = u, slot
	} else {
		u.Seats().slot = uint32(len(slots))
		slots = append(slots, u)
	}
	s.slots.Store(&slots)
}

// Drop takes note that an owner has left. Its sessions stay listed until they
// are moved or swept.
func (s *Table[U]) Drop(u U) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dying = append(s.dying, dying{slot: u.Seats().slot, round: s.round})
}

// reuseSlots frees the slots whose sessions a whole sweep has removed.
func (s *Table[U]) reuseSlots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round++
	var slots []U
	keep := s.dying[:0]
	for _, d := range s.dying {
		if s.round-d.round < 3 {
			keep = append(keep, d)
			continue
		}
		if slots == nil {
			slots = append(slots, *s.slots.Load()...)
		}
		var none U
		slots[d.slot] = none
		s.free = append(s.free, d.slot)
	}
	s.dying = keep
	if slots != nil {
		s.slots.Store(&slots)
	}
}
