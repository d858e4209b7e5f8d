package probe

import (
	"time"

	"portico/membership/catalog"
)

// Check says how the instances of a site are checked.
type Check struct {
	tcp      bool
	path     string
	host     string
	status   catalog.StatusRange
	body     string
	interval time.Duration
	timeout  time.Duration
}

// CompileCheck turns the settings of a site, defaults filled in, into what a check goes by.
func CompileCheck(h catalog.HealthSettings) (Check, error) {
	status, err := catalog.ParseStatus(h.Status)
	return Check{
		tcp: h.Type == "tcp", path: h.Path, host: h.Host, status: status, body: h.Body,
		interval: max(h.Interval.Std(), 100*time.Millisecond),
		timeout:  h.Timeout.Std(),
	}, err
}
