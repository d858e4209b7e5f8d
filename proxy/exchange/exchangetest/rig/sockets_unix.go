//go:build unix

package rig

import (
	"net"
	"syscall"
	"testing"
)

// Shrink gives the connections of a listener small buffers for what they send.
func Shrink(t *testing.T, ln net.Listener, size int) {
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, size) })
	if err != nil {
		t.Fatal(err)
	}
}

// Taper makes the connections of a listener take little at a time.
func Taper(t *testing.T, ln net.Listener) {
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err == nil {
		err = Narrow("", "", raw)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Narrow is for a dialer whose connections take little at a time.
func Narrow(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
}

// SendUrgent sends a byte out of band.
func SendUrgent(t *testing.T, c net.Conn) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	_ = raw.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte("!"), syscall.MSG_OOB, nil) })
	if err != nil {
		t.Error(err)
	}
}
