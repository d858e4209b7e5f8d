package client

import (
	"time"

	"portico/proxy/admin/apiclient"
)

// One rule for each command that waits for the cluster: it outlives a proxy that is away, says so, and ends
// when its own time is over. Where none was given the proxy may be away for proxyAway at a stretch.

// proxyAway is enough for the restart of a machine. What is waited for goes on meanwhile.
const proxyAway = 5 * time.Minute

// waitUntil is the patience of a command with a limit of its own.
func waitUntil(until time.Time, tell func(*apiclient.Away)) apiclient.Patience {
	return apiclient.Patience{Until: until, Tell: tell}
}

// waitAlong is the patience of one without.
func waitAlong(tell func(*apiclient.Away)) apiclient.Patience {
	return apiclient.Patience{Absence: proxyAway, Tell: tell}
}
