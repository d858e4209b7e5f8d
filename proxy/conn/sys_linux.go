package conn

import (
	"errors"
	"net"
	"syscall"
	"unsafe"
)

const rawIO = true

var errAgain error = syscall.EAGAIN // a constant

// Reads and writes are raw system calls: the descriptors do not block, so the scheduler need not know, and no signal interrupts them.
// RawSyscall would be one more function on the way back, each of which the processor guesses wrong: the kernel leaves nothing of its
// memory of return addresses.

const tcpINQ = 36 // TCP_INQ and TCP_CM_INQ of linux/tcp.h

// tellMore asks the kernel to say with every read what it leaves behind. Where it cannot, every read may have left something.
func tellMore(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpINQ, 1) }

// sysRead reads once.
func sysRead(fd uintptr, b []byte) (int, error) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	if e != 0 {
		return 0, failure(e)
	}
	return int(n), nil
}

// sysReadTold is sysRead after tellMore. more reports whether something may be left to read, an end in good order
// included; a reset is told by the next read only.
func sysReadTold(fd uintptr, b []byte) (n int, more bool, err error) {
	var told struct {
		syscall.Cmsghdr
		left int32
		_    int32
	}
	iov := syscall.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))}
	msg := syscall.Msghdr{Iov: &iov, Iovlen: 1, Control: (*byte)(unsafe.Pointer(&told)), Controllen: uint64(unsafe.Sizeof(told))}
	r, _, e := syscall.RawSyscall6(syscall.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&msg)), 0, 0, 0, 0)
	if e != 0 {
		return 0, false, failure(e)
	}
	return int(r), told.Type != tcpINQ || told.left != 0, nil
}

func sysWrite(fd uintptr, head, body []byte) (int, error) {
	if len(body) == 0 {
		n, _, e := syscall.RawSyscall6(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(head))), uintptr(len(head)), 0, 0, 0)
		if e != 0 {
			return 0, failure(e)
		}
		return int(n), nil
	}
	iov := [2]syscall.Iovec{
		{Base: unsafe.SliceData(head), Len: uint64(len(head))}, {Base: unsafe.SliceData(body), Len: uint64(len(body))},
	}
	n, _, e := syscall.RawSyscall6(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&iov)), 2, 0, 0, 0)
	if e != 0 {
		return 0, failure(e)
	}
	return int(n), nil
}

func failure(e syscall.Errno) error {
	if e == syscall.EAGAIN {
		return errAgain
	}
	return e
}

// quickAck acknowledges at once what comes next: Go's TLS server sends its ticket in the first flight, and a client with Nagle's
// algorithm would wait for a delayed acknowledgement.
func quickAck(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		if rc, err := t.SyscallConn(); err == nil {
			_ = rc.Control(func(fd uintptr) {
				_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
			})
		}
	}
}

// quiet reports whether a descriptor is open and has nothing to say.
func quiet(fd uintptr) bool {
	var b [1]byte
	_, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return e == syscall.EAGAIN
}

type peeker struct {
	raw syscall.RawConn
	fn  func(fd uintptr)
	n   uintptr
	e   syscall.Errno
}

func (p *peeker) init(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		p.raw, _ = t.SyscallConn()
	}
	p.fn = func(fd uintptr) {
		var b [1]byte
		p.n, _, p.e = syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	}
}

// quiet reports whether a connection is open and has nothing to say.
func (p *peeker) quiet() bool {
	return p.raw != nil && p.raw.Control(p.fn) == nil && errors.Is(p.e, syscall.EAGAIN)
}

// broken reports whether a connection was reset; bytes and an orderly end are no fault.
func (p *peeker) broken() bool {
	if p.raw == nil {
		return false
	}
	if p.raw.Control(p.fn) != nil {
		return true
	}
	return p.e != 0 && p.e != syscall.EAGAIN && p.e != syscall.EINTR
}

// ended reports whether the other side has ended its direction, whatever waits to be read before that.
func (p *peeker) ended() bool {
	const rdhup = 0x2000 // POLLRDHUP of asm-generic/poll.h
	q := struct {
		fd              int32
		events, revents int16
	}{events: rdhup}
	now := syscall.Timespec{}
	return p.raw != nil && p.raw.Control(func(fd uintptr) {
		q.fd = int32(fd)
		_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&q)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	}) == nil && q.revents&rdhup != 0
}
