package isolation

import "syscall"

// shrink makes a socket that is not connected yet take little at a time: small segments as on a network, and a small buffer. Else loopback
// swallows megabytes, and nobody ever has to wait for the other side.
func shrink(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400)
	_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10)
}
