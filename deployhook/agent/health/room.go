package health

import (
	"sync"
	"time"

	"portico/internal/descriptors"
)

// Room is whether visitors could have descriptors when that was looked at last: checks of one turn share a look.
type Room struct {
	mu sync.Mutex
	at time.Time // guarded by mu
	ok bool      // guarded by mu
}

// There reports whether there are descriptors for a visitor and the connection to an instance, as of tellAfter ago at most.
func (r *Room) There(traffic *descriptors.Traffic) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.at.IsZero() || now.Sub(r.at) > tellAfter {
		r.at, r.ok = now, traffic.Room(2)
	}
	return r.ok
}
