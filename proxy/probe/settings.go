package probe

import (
	"time"

	"portico/conf/sites"
)

// Check says how the instances of a site are checked.
type Check struct {
	tcp      bool
	path     string
	host     string
	status   sites.StatusRange
	body     string
	interval time.Duration
	timeout  time.Duration
	question string // what it asks and expects, for agents that check as well
}

// CompileCheck turns the settings of a site, defaults filled in, into what a check goes by.
func CompileCheck(f sites.Front) (Check, error) {
	h := f.Health
	status, err := sites.ParseStatus(h.Status)
	return Check{
		tcp: h.Type == sites.HealthTCP, path: h.Path, host: h.Host, status: status, body: h.Body,
		interval: max(h.Interval.Std(), 100*time.Millisecond),
		timeout:  h.Timeout.Std(),
		question: f.Question(),
	}, err
}
