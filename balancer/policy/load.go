package policy

import (
	"sync/atomic"

	"portico/balancer/sessions"
)

// Load is what a candidate has to do now, and the most that it may have. It fits into one cache line.
type Load struct {
	InFlight atomic.Int64 // requests admitted and not done
	Seats    sessions.Seats

	MaxConns, MaxSessions atomic.Int64 // 0: no limit
}

// busy reports whether there is no room for one more request.
func (l *Load) busy() bool {
	most := l.MaxConns.Load()
	return most > 0 && l.InFlight.Load() >= most
}

// full reports whether there is no seat for one more session.
func (l *Load) full() bool {
	most := l.MaxSessions.Load()
	return most > 0 && l.Seats.Taken() >= most
}
