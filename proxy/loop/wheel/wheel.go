// Package wheel holds deadlines of very many things of which most move before they are due: to move one later costs nothing, to look at
// those that are due costs nothing for the others. A Wheel is not safe for concurrent use.
package wheel

const (
	size = 1024
	tick = int64(10e6) // 10 ms
)

// Wheel holds the entries that have a deadline. An entry is in one slot at most; a deadline that moves later costs nothing, because
// the slot it was in looks again and puts it where it belongs. All times are nanoseconds of a clock that the caller chooses.
type Wheel[T any] struct {
	slots  [size]*Entry[T]
	firing *Entry[T] // the rest of the slot that Run is at
	at     int64     // the last tick that was run
	next   int64     // nothing is due before this tick
	count  int
}

// Entry is a place in a Wheel. The zero value is in none.
type Entry[T any] struct {
	of         T
	due        int64 // the tick, 0: in no slot
	prev, next *Entry[T]
}

// Begin sets the time, before the first use.
func (w *Wheel[T]) Begin(now int64) { w.at = now / tick }

// Due reports whether time has passed that Run has not looked at.
func (w *Wheel[T]) Due(now int64) bool { return now/tick > w.at }

// Schedule makes sure that Run gets of soon after the deadline, if e is not scheduled sooner.
func (w *Wheel[T]) Schedule(e *Entry[T], of T, deadline int64) {
	due := deadline/tick + 1
	if due <= w.at {
		due = w.at + 1
	}
	if e.due != 0 {
		if e.due <= due {
			return
		}
		w.Remove(e)
	}
	e.of, e.due = of, due
	if due < w.next || w.count == 0 {
		w.next = due
	}
	head := &w.slots[due%size]
	e.next, e.prev = *head, nil
	if *head != nil {
		(*head).prev = e
	}
	*head = e
	w.count++
}

// Remove takes an entry out, if it is in.
func (w *Wheel[T]) Remove(e *Entry[T]) {
	if e.due == 0 {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else if w.firing == e {
		w.firing = e.next
	} else {
		w.slots[e.due%size] = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.next, e.prev, e.due = nil, nil, 0
	w.count--
}

// Run calls fire for all that is due, until late says to stop; it reports whether it is through. fire may schedule and remove
// anything, so the slot is emptied first.
func (w *Wheel[T]) Run(now int64, fire func(T), late func() bool) bool {
	target := now / tick
	if target-w.at > size && w.firing == nil {
		w.at = target - size
	}
	for {
		for w.firing != nil {
			if late() {
				return false
			}
			e := w.firing
			due := e.due
			w.Remove(e)
			if due > w.at {
				w.Schedule(e, e.of, (due-1)*tick)
			} else {
				fire(e.of)
			}
		}
		if w.at >= target {
			break
		}
		w.at++
		slot := &w.slots[w.at%size]
		w.firing, *slot = *slot, nil
	}
	w.next = w.at + 1
	for w.next < w.at+size && w.slots[w.next%size] == nil {
		w.next++
	}
	return true
}

// Wait is how many milliseconds may pass until Run has something to do.
func (w *Wheel[T]) Wait(now int64) int {
	if w.count == 0 {
		return -1
	}
	return max(int((w.next*tick-now)/1e6)+1, 1)
}
