package forward

import (
	"sync"
	"time"

	"portico/balancer"
)

// longLivedEvery is how often the sessions of the engine's streams are noted to be in use.
const longLivedEvery = time.Minute

// longLived are the answers that go on for as long as the visitor stays: upgraded connections and event streams. No further request, and
// so no cookie, tells meanwhile that the session is in use.
type longLived struct {
	mu   sync.Mutex
	open map[*flight]stream // guarded by mu
	next time.Time          // guarded by mu
}

type stream struct {
	pool   *balancer.Pool
	choice balancer.Choice // the flight's own belongs to its loop
}

func (l *longLived) begin(f *flight) {
	f.lasts = true
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[*flight]stream{}
	}
	l.open[f] = stream{f.site.State.Pool, f.choice}
}

func (l *longLived) end(f *flight) {
	f.lasts = false
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, f)
}

// Count is how many there are.
func (l *longLived) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Keep notes that the sessions are in use, when it is time to.
func (l *longLived) Keep(now time.Time, ms int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		return
	}
	l.next = now.Add(longLivedEvery)
	for _, s := range l.open {
		s.pool.Keep(&s.choice, ms)
	}
}
