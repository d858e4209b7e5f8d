package pause

import (
	"math/rand/v2"
	"time"
)

// Jitter returns d give or take a tenth, so that what many do at this pace they do not do at one moment.
func Jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}
