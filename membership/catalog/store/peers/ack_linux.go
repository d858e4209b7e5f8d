package peers

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// lastAck is when the other side's kernel last said anything on a connection; zero: not known. It does so for a
// process that is too busy to.
func lastAck(c *net.TCPConn) (at time.Time) {
	raw, err := c.SyscallConn()
	if err != nil {
		return at
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			at = time.Now().Add(-time.Duration(info.Last_ack_recv) * time.Millisecond)
		}
	})
	return at
}
