package balancer_test

import (
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
)

func TestWaitingRoom(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 2})
	one, _ := w.get(nil)
	_, second := w.get(nil)

	come := func(ticket []byte) (balancer.Choice, balancer.Place) {
		c := w.pick(balancer.Request{Ticket: ticket})
		if c.Upstream != nil {
			w.done(&c)
			return c, balancer.Place{}
		}
		if c.None != balancer.NoneFull {
			t.Fatalf("found %s", c.None)
		}
		return c, w.p.JoinWaitingRoom(nil, ticket, w.now)
	}
	var tickets [][]byte
	for i := range 3 {
		w.now += 100
		_, place := come(nil)
		if place.Position != i+1 || place.Waiting != i+1 || len(place.Ticket) != seal.TicketLen {
			t.Fatalf("visitor %d: %+v", i, place)
		}
		tickets = append(tickets, place.Ticket)
	}
	// A reload keeps the place.
	if _, place := come(tickets[1]); place.Position != 2 || place.Waiting != 3 {
		t.Fatalf("after a reload: %+v", place)
	}
	// Who has a session passes.
	if c, _ := w.get(second); c.Upstream == nil {
		t.Fatal("a visitor with a session has to wait")
	}
	// One seat becomes free: it is for the first, and for nobody else.
	w.b.Sessions().End(one.Session)
	w.now++
	if c, place := come(nil); c.Upstream != nil || place.Position != 4 {
		t.Fatalf("a newcomer: %+v %+v", c, place)
	}
	if c, _ := come(tickets[1]); c.Upstream != nil {
		t.Fatal("the second came before the first")
	}
	if c, _ := come(tickets[0]); c.Upstream == nil || !c.New {
		t.Fatalf("the first: %+v", c)
	}
	if _, place := come(tickets[1]); place.Position != 1 {
		t.Fatalf("the second moves up: %+v", place)
	}
	// The second goes away: after a while the third is the first.
	for range 5 {
		w.now += (5 * time.Second).Milliseconds()
		come(tickets[2])
	}
	if _, place := come(tickets[2]); place.Position != 1 {
		t.Fatalf("after the second has left: %+v", place)
	}
	if n := w.p.Snapshot(w.now).Waiting; n != 1 {
		t.Errorf("%d wait by the snapshot", n)
	}
}

func TestTicketOutlivesTheProxy(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 1})
	w.get(nil)
	early := w.p.JoinWaitingRoom(nil, nil, w.now).Ticket
	w.now += 1000
	// Another proxy, or the same after a restart, knows nobody.
	other := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 1})
	other.keys = w.keys
	if err := other.b.SetKeys(w.keys, w.now); err != nil {
		t.Fatal(err)
	}
	other.get(nil)
	other.p.JoinWaitingRoom(nil, nil, w.now)
	if place := other.p.JoinWaitingRoom(nil, early, w.now); place.Position != 1 || place.Waiting != 2 {
		t.Errorf("the earlier visitor is at %+v", place)
	}
}

func TestBadTickets(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 1})
	w.get(nil)
	good := w.p.JoinWaitingRoom(nil, nil, w.now).Ticket
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if place := w.p.JoinWaitingRoom(nil, bad, w.now+1); place.Position == 1 {
			t.Fatalf("a ticket with another byte %d is good", i)
		}
	}
	if place := w.p.JoinWaitingRoom(nil, good, w.now+(7*time.Hour).Milliseconds()); place.Position != 1 || string(place.Ticket) == string(good) {
		t.Errorf("a ticket of hours ago: %+v", place)
	}
}

// TestWaitingRoomOrder: who comes in the same millisecond stands in line like everybody else.
func TestWaitingRoomOrder(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 1})
	w.get(nil)
	first := w.p.JoinWaitingRoom(nil, nil, w.now)
	for i := range 100 {
		if place := w.p.JoinWaitingRoom(nil, nil, w.now); place.Position != i+2 {
			t.Fatalf("number %d has position %d", i+2, place.Position)
		}
	}
	if place := w.p.JoinWaitingRoom(nil, first.Ticket, w.now); place.Position != 1 {
		t.Errorf("the first has position %d now", place.Position)
	}
}

// TestWaitingRoomOrderOfVeryMany: a millisecond in which more come than a ticket can count.
func TestWaitingRoomOrderOfVeryMany(t *testing.T) {
	w := newWorldOf(t, balancer.Config{}, balancer.Spec{ID: "a", MaxSessions: 1 << 20})
	first := w.p.JoinWaitingRoom(nil, nil, w.now)
	for range 1<<16 + 10 {
		ticket := w.p.JoinWaitingRoom(nil, nil, w.now).Ticket
		if c := w.pick(balancer.Request{Ticket: ticket}); !c.New { // and leaves the room
			t.Fatalf("there are seats: %+v", c)
		}
	}
	for i := range 100 {
		if place := w.p.JoinWaitingRoom(nil, nil, w.now); place.Position != i+2 {
			t.Fatalf("number %d of the last has position %d", i, place.Position-1)
		}
	}
	if place := w.p.JoinWaitingRoom(nil, first.Ticket, w.now); place.Position != 1 {
		t.Errorf("the first has position %d now", place.Position)
	}
	// A clock that is set back makes earlier tickets, not such from the future.
	w.now -= (time.Hour).Milliseconds()
	if place := w.p.JoinWaitingRoom(nil, nil, w.now); place.Position != 1 {
		t.Errorf("an hour before, by the clock: position %d", place.Position)
	}
}
