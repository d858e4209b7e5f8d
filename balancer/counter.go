package balancer

import (
	"sync/atomic"

	"portico/balancer/meter"
	"portico/balancer/seal"
)

// Counters are what an upstream counts. All only grow, except Queued and the
// peaks.
type Counters struct {
	Rate          meter.Rate    // requests sent there, in all and a second
	Picked        atomic.Uint64 // of these, placed by the policy (HAProxy's lbtot)
	Max           atomic.Int64  // most requests in flight
	LastUsed      atomic.Int64  // Unix milliseconds, to the second; 0: never
	BytesIn       atomic.Uint64 // from clients
	BytesOut      atomic.Uint64 // to clients
	Status        [6]atomic.Uint64
	ConnectErrors atomic.Uint64
	ResponseFails atomic.Uint64
	Retries       atomic.Uint64 // requests tried again after failing here
	Redispatches  atomic.Uint64 // of these, on another upstream
	ClientAborts  atomic.Uint64
	ServerAborts  atomic.Uint64
	TimeOuts      atomic.Uint64
	Connects      atomic.Uint64 // connections made
	Reuses        atomic.Uint64 // requests on an idle connection
	Queued        atomic.Int64  // waiting now
	QueuedMax     atomic.Int64
	Lost          [causes]atomic.Uint64 // sessions that left here with a cause
	QueueTime     meter.Histogram
	ConnectTime   meter.Histogram
	ResponseTime  meter.Histogram
	TotalTime     meter.Histogram
}

// histograms returns the four histograms.
func (c *Counters) histograms() [4]*meter.Histogram {
	return [4]*meter.Histogram{&c.QueueTime, &c.ConnectTime, &c.ResponseTime, &c.TotalTime}
}

// sums returns the plain totals in a fixed order.
func (c *Counters) sums() []*atomic.Uint64 {
	list := []*atomic.Uint64{
		&c.Picked, &c.BytesIn, &c.BytesOut, &c.ConnectErrors, &c.ResponseFails, &c.Retries, &c.Redispatches,
		&c.ClientAborts, &c.ServerAborts, &c.TimeOuts, &c.Connects, &c.Reuses,
	}
	for i := range c.Status {
		list = append(list, &c.Status[i])
	}
	for i := range c.Lost {
		list = append(list, &c.Lost[i])
	}
	return list
}

// merge adds what another has counted in all.
func (c *Counters) merge(o *Counters) {
	theirs := o.sums()
	for i, mine := range c.sums() {
		mine.Add(theirs[i].Load())
	}
	c.Rate.Merge(&o.Rate)
	meter.Raise(&c.LastUsed, o.LastUsed.Load())
	hists := o.histograms()
	for i, h := range c.histograms() {
		h.Merge(hists[i])
	}
}

// tick keeps the recent means.
func (c *Counters) tick(now int64) {
	c.Rate.Turn(now)
	for _, h := range c.histograms() {
		h.Tick()
	}
}

// PoolCounters are what a pool counts beyond its upstreams.
type PoolCounters struct {
	Requests       atomic.Uint64 // without second attempts
	NewSessions    meter.Rate
	Refused        [seal.RefusalCount]atomic.Uint64 // cookies not honoured, by cause
	Lost           [causes]atomic.Uint64            // sessions lost, by cause
	Nothing        [nones]atomic.Uint64             // requests without an upstream, by reason
	FailOpen       atomic.Uint64                    // requests sent to an upstream not known to be up
	Bursts         atomic.Uint64                    // requests that joined another's first visit
	Shifted        atomic.Uint64                    // sessions that changed the instance at a safe moment
	Retries        atomic.Uint64
	RetriesRefused atomic.Uint64 // by the budget
	QueueFull      atomic.Uint64
	QueueTimeouts  atomic.Uint64
}
