package catalog

import "time"

// ChecksPath is where an agent tells proxies of its checks for as long as they listen: a [CheckResult] in JSON each line's
// list holds, one line for the checks that were over together.
const ChecksPath = "/v1/checks"

// CheckResult is the outcome of a check that an agent made of an instance.
type CheckResult struct {
	ID     string        `json:"id"`
	Asked  string        `json:"asked"` // what was asked, see [sites.Front.Question]
	OK     bool          `json:"ok,omitempty"`
	Code   string        `json:"code"` // as in [Probe]
	Status int           `json:"status,omitempty"`
	Took   time.Duration `json:"took,omitempty"`
}
