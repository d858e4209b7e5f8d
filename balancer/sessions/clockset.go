package sessions

import (
	"portico/balancer/meter"
	"portico/balancer/seal"
)

// clockSet is one time that the system's clock was set while the process ran.
type clockSet struct {
	at int64 // Unix seconds by the clock as it is now, to which it was set
	by int64 // seconds; forward is positive
}

// maxClockSets bounds what is remembered. Only the oldest cookies bear times from before a set that is longer ago than
// a session may idle.
const maxClockSets = 8

// mend returns a time from a cookie by the clock as it is now. The cookie may come from this proxy, before its clock was
// set, or from a proxy whose clock was never set; nothing in it says which.
func mend(sets []clockSet, second, now int64) int64 {
	for _, c := range sets {
		switch before := now - c.by; {
		case c.by > 0 && second < c.at && second <= before+seal.ClockSkew:
			second += c.by // from before the set
		case c.by < 0 && second > now+seal.ClockSkew:
			second += c.by
		}
	}
	return second
}

// Mend brings the times of a cookie to the clock as it is now (Unix seconds). A time that is still ahead of this clock, by
// more than clocks may differ, counts as now: a proxy has sealed it, so that proxy's clock is wrong.
func (s *Table[U]) Mend(c *seal.Cookie, now int64) {
	if sets := s.sets.Load(); sets != nil && !c.Bare {
		c.Issued, c.Start = mend(*sets, c.Issued, now), mend(*sets, c.Start, now)
	}
	if c.Issued > now+seal.ClockSkew {
		c.Issued, c.Ahead = now, true
	}
	c.Start = min(c.Start, c.Issued)
}

// ClockSet says that the clock was set by so many seconds, to now (Unix seconds). All times of the table move along, except
// that its birth never moves back: the proxy rather waits too long until it is sure of its counts.
func (s *Table[U]) ClockSet(seconds, now int64) {
	var list []clockSet
	if old := s.sets.Load(); old != nil {
		for _, c := range *old {
			list = append(list, clockSet{at: c.at + seconds, by: c.by})
		}
	}
	list = append(list, clockSet{at: now, by: seconds})
	list = list[max(0, len(list)-maxClockSets):]
	s.sets.Store(&list)
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
		meter.Raise(&s.swept, s.swept.Load()+seconds*1000)
	}
}
