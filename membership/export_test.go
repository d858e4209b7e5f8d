package membership

import "time"

// SetNow gives an admission the test's clock.
func (o *AdmissionOptions) SetNow(now func() time.Time) { o.now = now }

// Stats counts what was turned away.
type Stats struct {
	BadPackets     int64 // datagrams that are not encrypted gossip
	BadStreams     int64 // connections that are not encrypted gossip
	RefusedStreams int64 // connections over the limits
}

// Stats returns the counts since the start.
func (c *Cluster) Stats() Stats {
	return Stats{
		BadPackets:     c.transport.badPackets.Load(),
		BadStreams:     c.transport.badStreams.Load(),
		RefusedStreams: c.transport.refused.Load(),
	}
}
