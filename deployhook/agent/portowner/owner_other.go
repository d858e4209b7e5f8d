//go:build !linux

package portowner

import (
	"net"
	"net/netip"
)

// Peer fails with ErrUnsupported here.
func Peer(*net.TCPConn) (uid int, err error) { return 0, ErrUnsupported }

// Listener fails with ErrUnsupported here.
func Listener(netip.AddrPort) (Holder, error) { return Holder{}, ErrUnsupported }

// Check fails with ErrUnsupported here.
func Check() error { return ErrUnsupported }
