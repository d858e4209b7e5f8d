package forward

import (
	"time"

	"portico/balancer"
	"portico/proxy/site"
)

// What becomes of a visitor whose own instance cannot be reached while the session there is
// kept, and of one for whom nothing but a restarting instance is left: the request is held for a moment, then
// the visitor is asked to come again.

// heldFor is how long requests are held for an instance from when it was first found wanting: longer
// than a restart of an agent or of a process takes, shorter than people wait without an answer.
const heldFor = 5 * time.Second

// heldLimit returns for how long a request may still be held for an instance at now (Unix milliseconds). restarts: its agent has said
// that it goes for a moment.
func heldLimit(u *balancer.Upstream, restarts bool, now int64) time.Duration {
	limit := heldFor
	if restarts {
		limit = site.AgentRestart
	}
	since := u.Doubted()
	if since == 0 {
		return limit
	}
	return min(max(limit-time.Duration(now-since)*time.Millisecond, 0), limit)
}

// restarting returns an instance that a request waits for which no other takes: its agent has said that it goes for a moment, and it would
// take new visitors. Nil: there is none, or it was waited for already.
func (f *flight) restarting() *balancer.Upstream {
	if f.awaited {
		return nil
	}
	for _, u := range f.site.State.Pool.Upstreams() {
		if u.Undecided() && u.Admin() == balancer.AdminReady && !u.Spec().Retiring && f.h.Origins.For(u).Leaves() {
			return u
		}
	}
	return nil
}
