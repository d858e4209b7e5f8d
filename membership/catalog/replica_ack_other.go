//go:build !linux

package catalog

import (
	"net"
	"time"
)

// lastAck is not known here.
func lastAck(*net.TCPConn) (at time.Time) { return at }
