package haproxy

import (
	"time"

	"portico/balancer"
	"portico/proxy/listen"
)

// Snapshot is the traffic of one proxy at one moment.
type Snapshot struct {
	At        time.Time
	Started   time.Time // of the process
	Frontends []listen.Snapshot
	Pools     []balancer.PoolSnapshot
}
