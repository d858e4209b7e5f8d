package balancer

import (
	"time"

	"portico/balancer/seal"
)

// clockSet is one time that the system's clock was set while the process ran.
type clockSet struct {
	at int64 // Unix seconds by the clock as it is now, to which it was set
	by int64 // seconds; forward is positive
}

// maxClockSets bounds what is remembered. Of a set that is older than a session may idle only the
// oldest cookies still tell.
const maxClockSets = 8

// ClockSet says that the system's clock was set by so much while the process ran, to now (Unix milliseconds). Nobody's
// session is older for that: the table's times move along, and cookies from before are read as such. Whether the clock was
// wrong before or is wrong now, nobody here can know, and it makes no difference.
func (b *Balancer) ClockSet(by time.Duration, now int64) {
	seconds := int64(by.Round(time.Second) / time.Second)
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []clockSet
	if old := b.sessions.sets.Load(); old != nil {
		for _, c := range *old {
			list = append(list, clockSet{at: c.at + seconds, by: c.by})
		}
	}
	list = append(list, clockSet{at: now / 1000, by: seconds})
	list = list[max(0, len(list)-maxClockSets):]
	b.sessions.sets.Store(&list)
	b.sessions.turn(seconds)
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

// mend brings a time from a cookie to the clock as it is now. A cookie bears the time of the proxy that issued it, which
// may be this one before its clock was set, or one whose clock never was.
func mend(sets []clockSet, second, now int64) int64 {
	for _, c := range sets {
		switch before := now - c.by; {
		case c.by > 0 && second < c.at && second <= before+seal.ClockSkew:
			second += c.by // by the clock as it was before
		case c.by < 0 && second > now+seal.ClockSkew:
			second += c.by
		}
	}
	return second
}

// mend brings the times of a cookie to the clock as it is now, in Unix seconds. What is still ahead of
// it by more than clocks may differ counts as of now: only a proxy can have sealed it, whose clock is wrong.
func (s *Sessions) mend(c *seal.Cookie, now int64) {
	if sets := s.sets.Load(); sets != nil && !c.Bare {
		c.Issued, c.Start = mend(*sets, c.Issued, now), mend(*sets, c.Start, now)
	}
	if c.Issued > now+seal.ClockSkew {
		c.Issued, c.Ahead = now, true
	}
	c.Start = min(c.Start, c.Issued)
}

// turn moves all times of the table. When it was born is not moved back: then the proxy
// waits rather too long until it is sure of its counts.
func (s *Sessions) turn(seconds int64) {
	move := func(stamp *uint32) { *stamp = uint32(max(int64(*stamp)+seconds, 1)) }
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for j := range sh.e {
			e := &sh.e[j]
			if e.id == 0 {
				continue
			}
			if move(&e.last); !e.alias() {
				move(&e.start)
				move(&e.issued)
			}
		}
		sh.mu.Unlock()
	}
	if born := s.born.Load(); born != 0 && seconds > 0 {
		s.born.CompareAndSwap(born, born+seconds*1000)
		raise(&s.swept, s.swept.Load()+seconds*1000)
	}
}
