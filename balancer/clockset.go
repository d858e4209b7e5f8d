package balancer

import "time"

// ClockSet says that the system's clock was set by so much while the process ran, to now (Unix milliseconds). No session
// gets older by that: the table's times move along, and the times in cookies from before are read by the clock as it was.
// It makes no difference whether the clock was wrong before or is wrong now; nobody here can know.
func (b *Balancer) ClockSet(by time.Duration, now int64) {
	seconds := int64(by.Round(time.Second) / time.Second)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions.ClockSet(seconds, now/1000)
	for _, p := range b.pools {
		if p.retry.paid.Load() != 0 {
			p.retry.paid.Add(seconds)
		}
		for _, u := range p.now.Load().all {
			u.turn(by)
		}
	}
}

// turn moves those times of the health that people see and by which weights grow. It leaves the doubt alone: each check
// says by how much the clock was set since the check before (Evidence.Lag).
func (u *Upstream) turn(by time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	h, ms := &u.health, by.Milliseconds()
	for _, t := range []*int64{&h.Since, &h.LastAt, &h.LastAgentAt, &u.adminAt} {
		if *t != 0 {
			*t += ms
		}
	}
}
