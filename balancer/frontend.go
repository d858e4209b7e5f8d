package balancer

import "sync/atomic"

// Protocol is what a client speaks.
type Protocol uint8

// The protocols, as indices of per-protocol counters.
const (
	ProtocolOther Protocol = iota
	HTTP1
	HTTP2
	HTTP3
	protocols
)

// Frontend counts the client side of a listener, a site or a whole proxy. The
// zero value is ready. It is safe for concurrent use.
type Frontend struct {
	Connections    atomic.Int64 // open now
	ConnectionsMax atomic.Int64
	ConnectionRate Rate
	ByProtocol     [protocols]atomic.Uint64 // connections

	Requests     Rate
	RequestsBy   [protocols]atomic.Uint64
	Active       atomic.Int64 // requests under way
	ActiveMax    atomic.Int64
	BytesIn      atomic.Uint64
	BytesOut     atomic.Uint64
	Status       [6]atomic.Uint64 // by class, other at 0
	BadRequests  atomic.Uint64    // refused by the parser, or cut short by the client
	Denied       atomic.Uint64    // refused by a rule
	DeniedAnswer atomic.Uint64    // answers held back by a rule
	Intercepted  atomic.Uint64    // answered by the proxy itself
	RefusedConns atomic.Uint64    // connections refused by a limit
	Errors       atomic.Uint64    // the proxy's own faults
	Upgrades     atomic.Int64     // tunnels open now
	TotalTime    Histogram
}

// Opened counts a new connection at now (Unix milliseconds).
func (f *Frontend) Opened(p Protocol, now int64) {
	raise(&f.ConnectionsMax, f.Connections.Add(1))
	f.ConnectionRate.Add(now)
	f.ByProtocol[min(p, protocols-1)].Add(1)
}

// Closed counts a connection's end.
func (f *Frontend) Closed() { f.Connections.Add(-1) }

// Begin counts a request at now (Unix milliseconds).
func (f *Frontend) Begin(p Protocol, now int64) {
	f.Requests.Add(now)
	f.RequestsBy[min(p, protocols-1)].Add(1)
	if n := f.Active.Add(1); n > f.ActiveMax.Load() {
		raise(&f.ActiveMax, n)
	}
}

// End counts the end of a request that Begin has counted.
func (f *Frontend) End(o *Outcome) {
	f.Active.Add(-1)
	f.BytesIn.Add(uint64(max(o.BytesIn, 0)))
	f.BytesOut.Add(uint64(max(o.BytesOut, 0)))
	class := o.Status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	f.Status[class].Add(1)
	f.TotalTime.Observe(o.Total)
}

// FrontendSnapshot is a frontend at one moment.
type FrontendSnapshot struct {
	Name                              string
	Status                            string // OPEN or STOP
	Connections, ConnectionsMax       int
	ConnectionLimit                   int // 0: none; filled in by the owner
	ConnectionsTotal                  uint64
	ConnectionRate, ConnectionRateMax float64
	Requests                          uint64
	RequestRate, RequestRateMax       float64
	Active, ActiveMax                 int
	HTTP1, HTTP2, HTTP3               uint64 // connections
	HTTP1Requests                     uint64
	HTTP2Requests                     uint64
	HTTP3Requests                     uint64
	BytesIn, BytesOut                 uint64
	Status1xx, Status2xx, Status3xx   uint64
	Status4xx, Status5xx, StatusOther uint64
	BadRequests, Denied, DeniedAnswer uint64
	Intercepted, RefusedConns, Errors uint64
	Upgrades                          int
	TotalTime                         HistogramSnapshot
}

// Tick keeps peak rates and recent means. Call it about once a second, from one
// goroutine.
func (f *Frontend) Tick(now int64) {
	f.ConnectionRate.turn(now / 1000)
	f.Requests.turn(now / 1000)
	f.TotalTime.tick()
}

// Snapshot returns the frontend as it is at now (Unix milliseconds).
func (f *Frontend) Snapshot(name string, now int64) FrontendSnapshot {
	return FrontendSnapshot{
		Name: name, Status: "OPEN",
		Connections: int(f.Connections.Load()), ConnectionsMax: int(f.ConnectionsMax.Load()),
		ConnectionsTotal: f.ConnectionRate.Total(),
		ConnectionRate:   f.ConnectionRate.PerSecond(now), ConnectionRateMax: float64(f.ConnectionRate.Max()),
		Requests: f.Requests.Total(), RequestRate: f.Requests.PerSecond(now), RequestRateMax: float64(f.Requests.Max()),
		Active: int(f.Active.Load()), ActiveMax: int(f.ActiveMax.Load()),
		HTTP1: f.ByProtocol[HTTP1].Load(), HTTP2: f.ByProtocol[HTTP2].Load(), HTTP3: f.ByProtocol[HTTP3].Load(),
		HTTP1Requests: f.RequestsBy[HTTP1].Load(), HTTP2Requests: f.RequestsBy[HTTP2].Load(), HTTP3Requests: f.RequestsBy[HTTP3].Load(),
		BytesIn: f.BytesIn.Load(), BytesOut: f.BytesOut.Load(),
		StatusOther: f.Status[0].Load(), Status1xx: f.Status[1].Load(), Status2xx: f.Status[2].Load(),
		Status3xx: f.Status[3].Load(), Status4xx: f.Status[4].Load(), Status5xx: f.Status[5].Load(),
		BadRequests: f.BadRequests.Load(), Denied: f.Denied.Load(), DeniedAnswer: f.DeniedAnswer.Load(),
		Intercepted: f.Intercepted.Load(), RefusedConns: f.RefusedConns.Load(), Errors: f.Errors.Load(),
		Upgrades: int(f.Upgrades.Load()), TotalTime: f.TotalTime.Snapshot(),
	}
}
