package membership

import "time"

// SetNow gives an admission the test's clock.
func (o *AdmissionOptions) SetNow(now func() time.Time) { o.now = now }
