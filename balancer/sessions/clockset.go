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

// maxClockSets bounds what is remembered. Of a set that is older than a session may idle only the
// oldest cookies still tell.
const maxClockSets = 8

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

// Mend brings the times of a cookie to the clock as it is now, in Unix seconds. What is still ahead of
// it by more than clocks may differ counts as of now: only a proxy can have sealed it, whose clock is wrong.
func (s *Table[U]) Mend(c *seal.Cookie, now int64) {
	if sets := s.sets.Load(); sets != nil && !c.Bare {
		c.Issued, c.Start = mend(*sets, c.Issued, now), mend(*sets, c.Start, now)
	}
	if c.Issued > now+seal.ClockSkew {
		c.Issued, c.Ahead = now, true
	}
	c.Start = min(c.Start, c.Issued)
}

// ClockSet says that the clock was set by so many seconds, to now (Unix seconds). It moves all times of the table. When it was born is not
// moved back: then the proxy waits rather too long until it is sure of its counts.
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
