// Package unsent knows what of a connection's bytes the system holds: those that were written and that the other side has not acknowledged.
//
// By default the system takes megabytes, and says that there is room again when a
// third of them has gone out. To a slow side that takes minutes, in which a writer
// sees nothing move, and takes a side that is slow for one that is dead. So a writer
// asks. Where the system does not tell, or nobody is there to ask, the system can be
// told to hold little; that costs large messages half as much again.
package unsent

import (
	"net"
	"syscall"
)

// Held is HeldFor for a connection, or for one that has its SyscallConn.
func Held(conn net.Conn) int {
	n := -1
	if s, ok := conn.(syscall.Conn); ok {
		if c, err := s.SyscallConn(); err == nil {
			_ = c.Control(func(fd uintptr) { n = HeldFor(fd) })
		}
	}
	return n
}

// most is how many bytes that were never sent a connection holds after Limit. What is on its way
// does not count, so a fast line is as fast as before. A side that takes two
// kilobytes a second takes this much in half a minute.
const most = 128 << 10

// Limit has the system hold little for a connection. A listener would not pass it on: the
// ones of Go are for MPTCP.
func Limit(conn net.Conn) {
	if s, ok := conn.(syscall.Conn); ok {
		if c, err := s.SyscallConn(); err == nil {
			limit(c)
		}
	}
}

// ControlSilent is for net.Dialer: Limit where the system does not tell what it holds.
func ControlSilent(_, _ string, c syscall.RawConn) error {
	if !Told {
		limit(c)
	}
	return nil
}

// LimitSilent is Limit where the system does not tell what it holds.
func LimitSilent(conn net.Conn) {
	if !Told {
		Limit(conn)
	}
}

// limit leaves a socket as it is where the system knows of no limit.
func limit(c syscall.RawConn) { _ = c.Control(limitSocket) }
