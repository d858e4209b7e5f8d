package balancer

import "time"

// ClockSet says that the system's clock was set by so much while the process ran, to now (Unix milliseconds). Nobody's
// session is older for that: the table's times move along, and cookies from before are read as such. Whether the clock was
// wrong before or is wrong now, nobody here can know, and it makes no difference.
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

// turn moves the times of the health that people are shown and that weights grow by. Checks bring along by
// how much the clock was set since the one before (Evidence.Lag), so the doubt is theirs.
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
