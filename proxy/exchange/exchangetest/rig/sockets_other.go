//go:build !unix

package rig

import (
	"net"
	"syscall"
	"testing"
)

// Shrink does nothing where buffers are another matter.
func Shrink(*testing.T, net.Listener, int) {}

// Taper does nothing likewise.
func Taper(*testing.T, net.Listener) {}

// Narrow does nothing where it is not known how.
func Narrow(_, _ string, _ syscall.RawConn) error { return nil }

// SendUrgent does nothing where urgent data cannot be sent.
func SendUrgent(*testing.T, net.Conn) {}
