package listen

import (
	"sync/atomic"
	"time"

	"portico/balancer/figures"
	"portico/balancer/meter"
	"portico/proxy/exchange/account"
)

// Traffic counts the traffic of one listener.
type Traffic struct {
	Name string
	Addr string // bound address; set by Listen

	Conns, connsMax        atomic.Int64
	connTotal, DeniedConns atomic.Uint64
	H1                     atomic.Uint64 // connections, those that speak HTTP/2 as well
	requests, h1req, h2req atomic.Uint64
	bytesIn, bytesOut      atomic.Uint64
	Denied, Bad, Own       atomic.Uint64 // refused by a rule, unreadable, answered by portico
	status                 [6]atomic.Uint64
	connRate, reqRate      meter.Rate
}

// Open counts a new connection and returns how many there are.
func (f *Traffic) Open(now time.Time) int64 {
	f.connTotal.Add(1)
	f.connRate.Add(now.UnixMilli())
	n := f.Conns.Add(1)
	for m := f.connsMax.Load(); n > m && !f.connsMax.CompareAndSwap(m, n); m = f.connsMax.Load() {
	}
	return n
}

// Count adds a request that has ended.
func (f *Traffic) Count(r *account.Record) {
	f.requests.Add(1)
	f.reqRate.Add(r.At.UnixMilli())
	if r.Proto == "HTTP/2.0" {
		f.h2req.Add(1)
	} else {
		f.h1req.Add(1)
	}
	f.status[r.Class()].Add(1)
	f.bytesOut.Add(uint64(r.BytesOut))
	if r.BytesIn > 0 {
		f.bytesIn.Add(uint64(r.BytesIn))
	}
}

// Snapshot is the traffic at now, Unix milliseconds; limit is how many connections there may be.
func (f *Traffic) Snapshot(limit int, now int64) figures.Frontend {
	return figures.Frontend{
		Name: f.Name, Addr: f.Addr,
		Conns: int(f.Conns.Load()), ConnsMax: int(f.connsMax.Load()), ConnsLimit: limit,
		ConnTotal: f.connTotal.Load(), ConnRate: f.connRate.PerSecond(now), ConnRateMax: float64(f.connRate.Max()),
		Requests: f.requests.Load(), ReqRate: f.reqRate.PerSecond(now), ReqRateMax: float64(f.reqRate.Max()),
		BytesIn: f.bytesIn.Load(), BytesOut: f.bytesOut.Load(),
		Denied: f.Denied.Load(), DeniedConns: f.DeniedConns.Load(), Errors: f.Bad.Load(), Intercepted: f.Own.Load(),
		Responses: figures.Responses{
			Status1xx: f.status[1].Load(), Status2xx: f.status[2].Load(), Status3xx: f.status[3].Load(),
			Status4xx: f.status[4].Load(), Status5xx: f.status[5].Load(), StatusOther: f.status[0].Load(),
		},
		H1Sessions: f.H1.Load(), H1Requests: f.h1req.Load(), H2Requests: f.h2req.Load(),
	}
}
