//go:build unix

package relay

import (
	"net"
	"syscall"
)

// peeker looks whether a connection has ended, and takes nothing from it.
type peeker struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	n    int
	err  error
}

func newPeeker(c *net.TCPConn) *peeker {
	e := &peeker{}
	e.raw, _ = c.SyscallConn()
	e.look = func(fd uintptr) {
		var b [1]byte
		e.n, _, e.err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}
	return e
}

// ended reports whether the other side has ended in order and all its bytes were read.
func (e *peeker) ended() bool {
	return e.raw != nil && e.raw.Control(e.look) == nil && e.err == nil && e.n == 0
}
