package sessions

import (
	"testing"
	"time"
)

// owner is an owner of sessions that does nothing else.
type owner struct {
	id    string
	seats Seats
}

func (o *owner) ID() string                           { return o.id }
func (o *owner) Pool() string                         { return "shop" }
func (o *owner) Seats() *Seats                        { return &o.seats }
func (o *owner) Gone() bool                           { return false }
func (o *owner) Lifetime() (idle, life time.Duration) { return time.Hour, 0 }
func (o *owner) KnownSince() int64                    { return 0 }

// What another proxy did with a session counts here, unless its visitor came back later.
func TestElsewhere(t *testing.T) {
	const now = 1_800_000_000_000
	s := NewTable[*owner](100)
	a, b := &owner{id: "a"}, &owner{id: "b"}
	s.Add(a)
	s.Add(b)
	visit := func(id uint64, at *owner, now int64) {
		s.Visit(&Visit[*owner]{ID: id, At: at, Start: now / 1000, Issued: now / 1000}, now)
	}
	counts := func(wantA, wantB int64) {
		t.Helper()
		if a.seats.Live() != wantA || b.seats.Live() != wantB {
			t.Errorf("%d and %d sessions, want %d and %d", a.seats.Live(), b.seats.Live(), wantA, wantB)
		}
	}
	visit(1, a, now)
	visit(2, a, now)
	visit(3, a, now+9000)
	counts(3, 0)
	for id := uint64(1); id <= 4; id++ { // 3 came later, 4 is not known
		s.Elsewhere(id, b, now+5000)
	}
	counts(1, 2)
	visit(1, a, now) // a cookie from before the move does not undo it
	counts(1, 2)
	s.Elsewhere(2, nil, now+6000)
	counts(1, 1)

	s.MarkAt(5, a, now/1000, true, now)
	s.MarkAt(1, b, now/1000, true, now)
	if in, ok := s.Find(5); !ok || !in.Ended {
		t.Errorf("a session that was ended elsewhere: %+v, %v", in, ok)
	}
	counts(1, 0) // nobody who has ended counts
	s.MarkAt(6, b, now/1000, false, now)
	if in, ok := s.Find(6); !ok || !in.Moving {
		t.Errorf("a session that is to move: %+v, %v", in, ok)
	}
	counts(1, 1)
	s.Elsewhere(5, b, now+7000)
	counts(1, 1)
}
