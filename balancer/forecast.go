package balancer

import "time"

// Loss is what would be cut if some upstreams went away now, and what a drain of
// them still waits for.
type Loss struct {
	Sessions int           // live ones, idle ones too
	Recent   int           // of these, used in the last 5 minutes
	Returned int           // of these, seen more than once
	InFlight int           // requests
	Oldest   time.Duration // age of the oldest session
	Idlest   time.Duration // longest time without a request
	Freshest time.Duration // shortest time without a request
	Ends     int64         // when the last one ends if nobody comes back, Unix milliseconds; 0: none
	AtMost   int64         // when the last one ends by its greatest age; 0: never, or none

	// Recounting reports that this proxy has not been up long enough to know all
	// sessions.
	Recounting bool
}

// recently is the last use that Loss.Recent asks for.
const recently = 5 * time.Minute

// Forecast returns what would be lost with the given upstreams at now (Unix
// milliseconds). It reads the whole table, which takes some ten milliseconds for a
// million sessions, and holds up nobody.
func (s *Sessions) Forecast(ups []*Upstream, now int64) Loss {
	var l Loss
	in := make(map[uint32]bool, len(ups))
	unpinned := map[*Upstream]bool{}
	for _, u := range ups {
		l.InFlight += u.InFlight()
		l.Recounting = l.Recounting || u.recounting(now)
		in[u.slot] = true
		unpinned[u] = u.spec.Load().Unpinned
	}
	spans, second := s.spans(), stamp(now)
	var oldest, idlest, freshest = second, second, uint32(0)
	var capped = true
	s.each(func(e *entry, u *Upstream) {
		if u == nil || !e.counted() || !in[e.slot()] || unpinned[u] || int(e.slot()) >= len(spans) {
			return
		}
		sp := spans[e.slot()]
		sp.gone = false
		if sp.over(e, second) {
			return
		}
		l.Sessions++
		if e.last+uint32(recently/time.Second) >= second {
			l.Recent++
		}
		if e.where&markReturned != 0 {
			l.Returned++
		}
		oldest, idlest, freshest = min(oldest, e.start), min(idlest, e.last), max(freshest, e.last)
		ends := fromStamp(e.issued) + int64(sp.grace)
		if sp.life > 0 {
			last := fromStamp(e.start) + int64(sp.life)
			ends = min(ends, last)
			l.AtMost = max(l.AtMost, last*1000)
		} else {
			capped = false
		}
		l.Ends = max(l.Ends, ends*1000)
	})
	if !capped {
		l.AtMost = 0
	}
	if l.Sessions > 0 {
		l.Oldest = time.Duration(second-oldest) * time.Second
		l.Idlest = time.Duration(second-idlest) * time.Second
		l.Freshest = time.Duration(max(second, freshest)-freshest) * time.Second
	}
	return l
}

// Forecast returns what would be lost with the given upstreams, of any pools of
// this balancer, at now (Unix milliseconds).
func (b *Balancer) Forecast(ups []*Upstream, now int64) Loss { return b.sessions.Forecast(ups, now) }
