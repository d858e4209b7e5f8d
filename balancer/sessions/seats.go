package sessions

import (
	"sync/atomic"
	"time"
)

// Owner is who has sessions: an upstream, as a pointer.
type Owner interface {
	comparable

	ID() string
	Pool() string
	Seats() *Seats
	Gone() bool                           // it has left its pool: what it had has ended
	Lifetime() (idle, life time.Duration) // of its sessions, see seal.Cookie.Judge
	KnownSince() int64                    // to this table or the one that was restored, Unix milliseconds; 0: unknown
}

func absent[U Owner](u U) bool {
	var none U
	return u == none
}

// Seats is what the table counts of an owner.
type Seats struct {
	live  atomic.Int64
	light atomic.Int64 // of these, those that hold no seat, see markLight
	slot  uint32
}

// Live returns the number of sessions that the table counts.
func (s *Seats) Live() int64 { return s.live.Load() }

// Taken returns how many sessions count for a ceiling: those whose visitors came back, and the newest.
func (s *Seats) Taken() int64 { return s.live.Load() - s.light.Load() }

// Take counts a session before it exists, so that a ceiling is never passed, and reports
// whether there was room. Its Visit has Seat set.
func (s *Seats) Take(most int64) bool {
	for {
		n := s.live.Load()
		if n-s.light.Load() >= most {
			return false
		}
		if s.live.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// weigh lets a session of u that held no seat hold one: its visitor has come. Callers on the
// path of a request ask for the mark themselves, because this is a call.
func weigh[U Owner](e *entry, u U) {
	if e.where&markLight == 0 {
		return
	}
	e.where &^= markLight
	if !absent(u) {
		u.Seats().light.Add(-1)
	}
}
