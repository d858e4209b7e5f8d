package deployhook

import "time"

// SetGrace lets objects that no release refers to go sooner.
func (o *Options) SetGrace(d time.Duration) { o.grace = d }
