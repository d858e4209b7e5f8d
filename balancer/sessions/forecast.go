package sessions

import "time"

// Loss is the sessions that would be cut if some owners went away now, and what a drain of
// them still waits for.
type Loss struct {
	Sessions int           // live ones, idle ones too
	Recent   int           // of these, used in the last 5 minutes
	Oldest   time.Duration // age of the oldest session
	Idlest   time.Duration // longest time without a request
	Ends     int64         // when the last one ends if nobody comes back, Unix milliseconds; 0: none
	AtMost   int64         // when the last one ends by its greatest age; 0: never, or none
}

// recently is the last use that Loss.Recent asks for.
const recently = 5 * time.Minute

// Forecast returns what would be lost with the given owners at now (Unix
// milliseconds). It reads the whole table, which takes some ten milliseconds for a
// million sessions, and holds up nobody.
func (s *Table[U]) Forecast(ups []U, now int64) Loss {
	var l Loss
	in := make(map[uint32]bool, len(ups))
	for _, u := range ups {
		in[u.Seats().slot] = true
	}
	spans, second := s.spans(), stamp(now)
	var oldest, idlest = second, second
	var capped = true
	s.each(func(e *entry, u U) {
		if absent(u) || !e.counted() || !in[e.slot()] || int(e.slot()) >= len(spans) {
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
		oldest, idlest = min(oldest, e.start), min(idlest, e.last)
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
	}
	return l
}
