package site

import (
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/proxy/fault"
)

// The waiting room: what a new visitor gets while every instance of the site has
// as many sessions as session.max allows. Who has a session never sees it.

// placeAge is how long a browser keeps the ticket after it was shown last: longer
// than the balancer keeps the place itself.
const placeAge = time.Minute

// AsksTicket reports whether a request without a sticky cookie should be searched
// for a ticket of the waiting room.
func (st *Site) AsksTicket() bool { return st.Sticky && st.MaxSessions > 0 }

// Wait gives the visitor of a choice that found all instances full a place in
// the waiting room. A visitor who has just lost a session is told to come again,
// and goes before those who wait.
func (st *Site) Wait(c *balancer.Choice, ticket []byte, secure bool, now int64) error {
	if !st.Sticky || c.Session != 0 {
		return fault.ErrQueueFull
	}
	var buf [seal.TicketLen]byte
	p := st.State.Pool.JoinWaitingRoom(buf[:0], ticket, now)
	cookie := ""
	if p.Position > 0 {
		cookie = st.Cookie.KeepPlace(string(p.Ticket), placeAge, secure)
	}
	return fault.Waiting(p, cookie)
}
