package balancer

import "portico/balancer/sessions"

// Loss is what would be cut if some upstreams went away now, and what a drain of
// them still waits for.
type Loss struct {
	sessions.Loss
	InFlight int // requests

	// Recounting reports that this proxy has not been up long enough to know all
	// sessions.
	Recounting bool
}

// Forecast returns what would be lost with the given upstreams, of any pools of
// this balancer, at now (Unix milliseconds). One that keeps no state loses requests only.
func (b *Balancer) Forecast(ups []*Upstream, now int64) Loss {
	var l Loss
	var keepers []*Upstream
	for _, u := range ups {
		l.InFlight += u.InFlight()
		l.Recounting = l.Recounting || u.recounting(now)
		if !u.spec.Load().Unpinned {
			keepers = append(keepers, u)
		}
	}
	l.Loss = b.sessions.Forecast(keepers, now)
	return l
}
