package balancer

import "sync/atomic"

// Counters are what an upstream counts. All only grow, except those named Cur.
type Counters struct {
	Total         atomic.Uint64 // requests sent there
	Picked        atomic.Uint64 // of these, placed by the policy (HAProxy's lbtot)
	Max           atomic.Int64  // most requests in flight
	BytesIn       atomic.Uint64 // from clients
	BytesOut      atomic.Uint64 // to clients
	ConnectErrors atomic.Uint64
	ResponseFails atomic.Uint64
	Retries       atomic.Uint64 // requests tried again after failing here
	Redispatches  atomic.Uint64 // of these, tried on another upstream
	ClientAborts  atomic.Uint64
	ServerAborts  atomic.Uint64
	TimeOuts      atomic.Uint64
	Connects      atomic.Uint64 // connections made
	Reuses        atomic.Uint64 // requests on an idle connection
	Status        [6]atomic.Uint64
	Queued        atomic.Int64 // waiting now
	QueuedMax     atomic.Int64
	Lost          [causes]atomic.Uint64 // sessions that left here with a cause
	LastUsed      atomic.Int64          // Unix milliseconds
	Rate          Rate
	QueueTime     Histogram
	ConnectTime   Histogram
	ResponseTime  Histogram
	TotalTime     Histogram
}

// PoolCounters are what a pool counts beyond its upstreams.
type PoolCounters struct {
	Refused [refusals]atomic.Uint64 // cookies not honoured, by cause
	Lost    [causes]atomic.Uint64   // sessions lost, by cause
	Nothing [NoneTried + 1]atomic.Uint64
}
