//go:build linux || darwin

package takeover

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

const supported = true

func rights(fds []int) []byte { return syscall.UnixRights(fds...) }

func rightsSpace(n int) int { return syscall.CmsgSpace(4 * n) }

// parseRights returns the descriptors of a control message.
func parseRights(oob []byte) (fds []int, err error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		got, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // another kind of message
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// dupListener makes a descriptor for a listener's socket. TCPListener.File would do, too, but its
// Fd makes the socket blocking for everybody who has it.
func dupListener(l net.Listener) (fd int, err error) {
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(p uintptr) { fd, err = dup(int(p)) })
	if cerr != nil {
		return -1, cerr
	}
	return fd, err
}

// sendDatagram sends over a connected datagram socket, for which package net has nothing
// that takes control messages.
func sendDatagram(c *net.UnixConn, b, oob []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	werr := raw.Write(func(fd uintptr) bool {
		err = syscall.Sendmsg(int(fd), b, oob, nil, 0)
		return !errors.Is(err, syscall.EAGAIN)
	})
	return errors.Join(werr, err)
}

func dup(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

func closeFD(fd int) { _ = syscall.Close(fd) }
