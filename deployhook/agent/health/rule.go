package health

import (
	"cmp"
	"time"

	"portico/conf/sites"
	"portico/internal/pause"
)

const (
	firstGap  = 100 * time.Millisecond // between checks of an instance that has just started
	firstGaps = 20                     // so many, then they come ever slower up to the interval
)

// Rule is the rule of rise and fall for one instance. It has no clock. The zero value is ready.
type Rule struct {
	Healthy bool
	Ever    bool // it has been healthy
	run     int  // checks in a row that speak against the present state
	checks  int
}

// Observe takes the outcome of a check and reports whether the state changed.
func (h *Rule) Observe(ok bool, s sites.Health) bool {
	h.checks++
	if ok == h.Healthy {
		h.run = 0
		return false
	}
	h.run++
	limit := cmp.Or(s.Rise, sites.DefaultRise)
	if h.Healthy {
		limit = cmp.Or(s.Fall, sites.DefaultFall)
	}
	if h.run < limit {
		return false
	}
	h.Healthy, h.run = ok, 0
	h.Ever = h.Ever || ok
	return true
}

// NewQuestion says that from here on the checks ask something else: what spoke against the state
// before spoke of another question.
func (h *Rule) NewQuestion() { h.run = 0 }

// Every is how long to wait between the checks of an instance that has been healthy.
func Every(s sites.Health) time.Duration {
	return cmp.Or(s.Interval.Std(), sites.DefaultHealthInterval)
}

// Interval returns how long to wait for the next check of an instance that has not been healthy: little while it
// starts, so that a deploy does not wait for a timer, then up to the setting.
func (h *Rule) Interval(s sites.Health) time.Duration {
	full := Every(s)
	d := firstGap
	for range max(0, h.checks-firstGaps) {
		if d *= 2; d > full {
			break
		}
	}
	return pause.Jitter(min(d, full))
}
