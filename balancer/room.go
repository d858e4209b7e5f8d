package balancer

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The waiting room is for new visitors while all instances have as many sessions
// as they may. Who has a session never sees it. A visitor's place is his time of
// arrival, sealed in a ticket that he shows again every few seconds, so that
// neither his reloads nor a restart of the proxy cost him the place, and several
// proxies agree on who came first.
const (
	roomMost    = 10_000           // who comes then is told to come again, without a place
	roomRefresh = 5 * time.Second  // how often a visitor should show his ticket
	roomPatient = 20 * time.Second // after that long without a sign a place is given up
	roomOldest  = 6 * time.Hour    // an older ticket counts for nothing
	roomAhead   = time.Second      // a ticket that is further ahead is from before the clock was set back
)

// A ticket is 33 bytes in base64url: key id (1), arrival in Unix milliseconds (8), id
// (2 of a count within the millisecond, 6 random), AES-CMAC (16) of arrival, id, key
// id and zero bytes.
const (
	ticketLen = 33

	// TicketLen is the length of a ticket as text.
	TicketLen = ticketLen / 3 * 4
)

// Place is a visitor's place in the waiting room.
type Place struct {
	Position int           // from 1; 0: the room itself is full
	Waiting  int           // visitors in the room
	Refresh  time.Duration // when to come again
	Ticket   []byte        // to be shown then; empty with Position 0
}

// room is the visitors who wait for a seat, in order of arrival.
type room struct {
	waiting atomic.Int64 // len(line), read without the lock

	mu   sync.Mutex
	line []ticket
	last ticket // the newest that was made here
}

type ticket struct {
	arrived int64 // Unix milliseconds
	id      uint64
	seen    int64
}

func (a ticket) compare(b ticket) int {
	return cmp.Or(cmp.Compare(a.arrived, b.arrived), cmp.Compare(a.id, b.id))
}

// Attend gives a visitor for whom Pick found NoneFull a place in the waiting room,
// or the one that his ticket says. The ticket to send back is appended to dst.
func (p *Pool) Attend(dst, shown []byte, now int64) Place {
	t := p.now.Load()
	v, ok := t.sealer.openTicket(shown, now)
	if !ok {
		v = p.room.arrive(now, p.b.rand())
	}
	v.seen = now
	position, waiting := p.room.enter(v)
	if position == 0 {
		return Place{Waiting: waiting, Refresh: 6 * roomRefresh}
	}
	return Place{Position: position, Waiting: waiting, Refresh: roomRefresh, Ticket: t.sealer.sealTicket(dst, v)}
}

// arrive makes a ticket. Its id begins with a count of those made in the same
// millisecond, so that nobody who came later gets a place further ahead. A millisecond with
// more of them than can be counted borrows from the next.
func (r *room) arrive(now int64, random uint64) ticket {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := ticket{arrived: now, id: random >> 16}
	if ahead := r.last.arrived - now; ahead >= 0 && ahead < roomAhead.Milliseconds() {
		count := r.last.id>>48 + 1
		v.arrived = r.last.arrived + int64(count>>16)
		v.id |= count << 48
	}
	r.last = v
	return v
}

// enter takes a place or renews it, and returns the position from 1.
func (r *room) enter(v ticket) (position, waiting int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked(v.seen)
	i, found := slices.BinarySearchFunc(r.line, v, ticket.compare)
	switch {
	case found:
		r.line[i].seen = v.seen
	case len(r.line) >= roomMost:
		return 0, len(r.line)
	default:
		r.line = slices.Insert(r.line, i, v)
		r.waiting.Store(int64(len(r.line)))
	}
	return i + 1, len(r.line)
}

// clearLocked gives up the places of those who did not come again.
func (r *room) clearLocked(now int64) {
	r.line = slices.DeleteFunc(r.line, func(v ticket) bool { return now-v.seen > roomPatient.Milliseconds() })
	r.waiting.Store(int64(len(r.line)))
}

// admits reports whether a visitor's turn has come while there are seats free
// seats. Who has no ticket comes after all who wait.
func (r *room) admits(v ticket, known bool, seats int64, now int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked(now)
	before := len(r.line)
	if known {
		before, _ = slices.BinarySearchFunc(r.line, v, ticket.compare)
	}
	return int64(before) < seats
}

// leave gives up a place.
func (r *room) leave(v ticket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, found := slices.BinarySearchFunc(r.line, v, ticket.compare); found {
		r.line = slices.Delete(r.line, i, i+1)
		r.waiting.Store(int64(len(r.line)))
	}
}

// seats returns how many sessions the upstreams of g may still take.
func (g *group) seats() int64 {
	var n int64
	for _, u := range g.up {
		most := u.maxSessions.Load()
		if most <= 0 {
			return 1 << 40
		}
		n += max(most-u.seated(), 0)
	}
	return n
}

func (k *siteKey) ticketSum(v ticket) mac {
	return k.ticket.sum(uint64(v.arrived), v.id, uint64(k.id)<<56, 0)
}

// sealTicket appends a ticket to dst.
func (s *Sealer) sealTicket(dst []byte, v ticket) []byte {
	k := &s.keys[0]
	var space [ticketLen]byte
	raw := binary.BigEndian.AppendUint64(append(space[:0], k.id), uint64(v.arrived))
	raw = binary.BigEndian.AppendUint64(raw, v.id)
	return base64.RawURLEncoding.AppendEncode(dst, k.ticketSum(v).append(raw))
}

// openTicket reads a ticket and reports whether it is good.
func (s *Sealer) openTicket(text []byte, now int64) (ticket, bool) {
	var raw [ticketLen]byte
	if len(text) != TicketLen {
		return ticket{}, false
	}
	if n, err := base64.RawURLEncoding.Decode(raw[:], text); err != nil || n != ticketLen {
		return ticket{}, false
	}
	be := binary.BigEndian
	v := ticket{arrived: int64(be.Uint64(raw[1:])), id: be.Uint64(raw[9:])}
	for i := range s.n {
		k := &s.keys[i]
		if k.id != raw[0] {
			continue
		}
		return v, k.ticketSum(v).same(mac{be.Uint64(raw[17:]), be.Uint64(raw[25:])}) &&
			now-v.arrived <= roomOldest.Milliseconds() && v.arrived-now <= clockSkew*1000
	}
	return ticket{}, false
}
