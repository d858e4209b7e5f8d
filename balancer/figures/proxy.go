package figures

import "time"

// Proxy is the traffic of one proxy's process at one moment.
type Proxy struct {
	At        time.Time
	Started   time.Time // of the process
	Revision  int64     // of the catalog view that routes
	Frontends []Frontend
	Pools     []Pool // by name
	Tunnels   int    // upgraded connections open
	LogLost   uint64 // lines of the access log that were dropped
	Panics    uint64
}
