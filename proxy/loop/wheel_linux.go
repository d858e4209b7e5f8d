package loop

const (
	wheelSlots = 1024
	tick       = int64(10e6) // 10 ms
)

// wheel holds the sockets that have a deadline. A socket is in one slot at most; a deadline that moves later costs nothing, because
// the slot it was in looks again and puts it where it belongs.
type wheel struct {
	slots  [wheelSlots]*sock
	firing *sock // the rest of the slot that run is at
	at     int64 // the last tick that was run
	next   int64 // no socket is due before this tick
	count  int
}

// schedule makes sure that s is looked at soon after deadline.
func (w *wheel) schedule(s *sock, deadline int64) {
	due := deadline/tick + 1
	if due <= w.at {
		due = w.at + 1
	}
	if s.due != 0 {
		if s.due <= due {
			return
		}
		w.remove(s)
	}
	s.due = due
	if due < w.next || w.count == 0 {
		w.next = due
	}
	head := &w.slots[due%wheelSlots]
	s.next, s.prev = *head, nil
	if *head != nil {
		(*head).prev = s
	}
	*head = s
	w.count++
}

func (w *wheel) remove(s *sock) {
	if s.due == 0 {
		return
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else if w.firing == s {
		w.firing = s.next
	} else {
		w.slots[s.due%wheelSlots] = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev, s.due = nil, nil, 0
	w.count--
}

// run calls fire for every socket that is due, until late says to stop; it reports whether it is through. fire may schedule and remove
// any socket, so the slot is emptied first.
func (w *wheel) run(now int64, fire func(*sock), late func() bool) bool {
	target := now / tick
	if target-w.at > wheelSlots && w.firing == nil {
		w.at = target - wheelSlots
	}
	for {
		for w.firing != nil {
			if late() {
				return false
			}
			s := w.firing
			due := s.due
			w.remove(s)
			if due > w.at {
				w.schedule(s, (due-1)*tick)
			} else {
				fire(s)
			}
		}
		if w.at >= target {
			break
		}
		w.at++
		slot := &w.slots[w.at%wheelSlots]
		w.firing, *slot = *slot, nil
	}
	w.next = w.at + 1
	for w.next < w.at+wheelSlots && w.slots[w.next%wheelSlots] == nil {
		w.next++
	}
	return true
}

// wait is how many milliseconds may pass until run has something to do.
func (w *wheel) wait(now int64) int {
	if w.count == 0 {
		return -1
	}
	return max(int((w.next*tick-now)/1e6)+1, 1)
}
