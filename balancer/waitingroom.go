package balancer

import (
	"time"

	"portico/balancer/waiting"
)

// Place is a visitor's place in the waiting room.
type Place struct {
	Position int           // from 1; 0: the room itself is full
	Waiting  int           // visitors in the room
	Refresh  time.Duration // when to come again
	Ticket   []byte        // to be shown then; empty with Position 0
}

// JoinWaitingRoom gives a visitor for whom Pick found NoneFull a place in the waiting room,
// or the one that his ticket says. The ticket to send back is appended to dst.
func (p *Pool) JoinWaitingRoom(dst, shown []byte, now int64) Place {
	t := p.now.Load()
	v, ok := t.sealer.OpenTicket(shown, now)
	if !ok {
		v = p.room.NewTicket(now, p.b.rand())
	}
	position, n := p.room.Enter(v, now)
	if position == 0 {
		return Place{Waiting: n, Refresh: 6 * waiting.Refresh}
	}
	return Place{Position: position, Waiting: n, Refresh: waiting.Refresh, Ticket: t.sealer.SealTicket(dst, v)}
}
