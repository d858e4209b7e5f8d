package forward

import (
	"time"

	"portico/balancer"
)

// What becomes of a visitor whose own instance cannot be reached while the session there is
// kept: the request is held for a moment, then the visitor is asked to come again.

// heldFor is how long requests are held for an instance from when it was first found wanting: longer
// than a restart of an agent or of a process takes, shorter than people wait without an answer.
const heldFor = 5 * time.Second

// heldLimit returns for how long a request may still be held for an instance at now (Unix milliseconds).
func heldLimit(u *balancer.Upstream, now int64) time.Duration {
	since := u.Doubted()
	if since == 0 {
		return heldFor
	}
	return min(max(heldFor-time.Duration(now-since)*time.Millisecond, 0), heldFor)
}
