//go:build !unix

package exchangetest

import (
	"net"
	"syscall"
	"testing"
)

// shrink does nothing where buffers are another matter.
func shrink(*testing.T, net.Listener, int) {}

// taper does nothing likewise.
func taper(*testing.T, net.Listener) {}

// narrow does nothing where it is not known how.
func narrow(_, _ string, _ syscall.RawConn) error { return nil }

// sendUrgent does nothing where urgent data cannot be sent.
func sendUrgent(*testing.T, net.Conn) {}
