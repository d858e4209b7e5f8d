package haproxy

import (
	"time"

	"portico/balancer"
)

// Frontend is one listener's traffic at one moment.
type Frontend struct {
	Name string // "http", "https"
	Addr string // host:port that it listens on

	Conns, ConnsMax, ConnsLimit int // client connections now, most, limit (0: none)
	ConnTotal                   uint64
	ConnRate, ConnRateMax       float64 // connections a second
	Requests                    uint64
	ReqRate, ReqRateMax         float64 // requests a second
	BytesIn, BytesOut           uint64
	Denied, DeniedConns         uint64 // refused by a rule
	Errors                      uint64 // requests that could not be read
	Intercepted                 uint64 // answered by the proxy itself

	Status1xx, Status2xx, Status3xx   uint64
	Status4xx, Status5xx, StatusOther uint64
	H1Sessions, H2Sessions            uint64
	H1Requests, H2Requests            uint64
}

// Snapshot is the traffic of one proxy at one moment.
type Snapshot struct {
	At        time.Time
	Started   time.Time // of the process
	Frontends []Frontend
	Pools     []balancer.PoolSnapshot
}
