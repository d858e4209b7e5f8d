// Package waiting is the waiting room of a site: new visitors, in order of arrival,
// while all instances have as many sessions as they may. Who has a session never sees it.
//
// A visitor's place is his time of arrival, sealed in a ticket that he shows again every
// few seconds. So neither his reloads nor a restart of the proxy cost him the place, and several
// proxies agree on who came first.
package waiting

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"portico/balancer/seal"
)

// Refresh is how often a visitor should show his ticket.
const Refresh = 5 * time.Second

const (
	most     = 10_000           // who comes then is told to come again, without a place
	patience = 20 * time.Second // after that long without a sign a place is given up
	ahead    = time.Second      // a ticket that is further ahead is from before the clock was set back
)

// Room is the visitors who wait for a seat. The zero value is an empty room. It is safe
// for concurrent use.
type Room struct {
	waiting atomic.Int64 // len(line), read without the lock

	mu   sync.Mutex
	line []place
	last seal.Ticket // the newest that was made here
}

// place is a visitor's place in the line.
type place struct {
	seal.Ticket
	seen int64 // when the ticket was shown last, Unix milliseconds
}

// Waiting returns how many wait. It takes no lock.
func (r *Room) Waiting() int { return int(r.waiting.Load()) }

// find returns where a ticket's place is, or would be.
func (r *Room) find(t seal.Ticket) (int, bool) {
	return slices.BinarySearchFunc(r.line, t, func(p place, t seal.Ticket) int { return p.Compare(t) })
}

// NewTicket makes a ticket. Its id begins with a count of those made in the same
// millisecond, so that nobody who came later gets a place further ahead. A millisecond with
// more of them than can be counted borrows from the next.
func (r *Room) NewTicket(now int64, random uint64) seal.Ticket {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := seal.Ticket{Arrived: now, ID: random >> 16}
	if before := r.last.Arrived - now; before >= 0 && before < ahead.Milliseconds() {
		count := r.last.ID>>48 + 1
		t.Arrived = r.last.Arrived + int64(count>>16)
		t.ID |= count << 48
	}
	r.last = t
	return t
}

// Enter takes a place or renews it, and returns the position from 1.
func (r *Room) Enter(t seal.Ticket, now int64) (position, waiting int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked(now)
	i, found := r.find(t)
	switch {
	case found:
		r.line[i].seen = now
	case len(r.line) >= most:
		return 0, len(r.line)
	default:
		r.line = slices.Insert(r.line, i, place{Ticket: t, seen: now})
		r.waiting.Store(int64(len(r.line)))
	}
	return i + 1, len(r.line)
}

// clearLocked gives up the places of those who did not come again.
func (r *Room) clearLocked(now int64) {
	r.line = slices.DeleteFunc(r.line, func(p place) bool { return now-p.seen > patience.Milliseconds() })
	r.waiting.Store(int64(len(r.line)))
}

// Admits reports whether a visitor's turn has come while there are seats free
// seats. Who has no ticket comes after all who wait.
func (r *Room) Admits(t seal.Ticket, known bool, seats int64, now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked(now)
	before := len(r.line)
	if known {
		before, _ = r.find(t)
	}
	return int64(before) < seats
}

// Leave gives up a place.
func (r *Room) Leave(t seal.Ticket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, found := r.find(t); found {
		r.line = slices.Delete(r.line, i, i+1)
		r.waiting.Store(int64(len(r.line)))
	}
}

// Before returns how many who wait come before a visitor, and how many wait.
func (r *Room) Before(t seal.Ticket, known bool, now int64) (before, waiting int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.line {
		if now-w.seen > patience.Milliseconds() {
			continue
		}
		waiting++
		if !known || w.Compare(t) < 0 {
			before++
		}
	}
	return before, waiting
}
