package loop

import (
	"net/netip"
	"syscall"
	"unsafe"

	"portico/proxy/http1"
)

// Reads and writes are raw system calls: the descriptors never block, so the scheduler need not know (7 % of a small request's CPU).

func rawRead(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e != syscall.EINTR {
			if e != 0 {
				return 0, e
			}
			return int(n), 0
		}
	}
}

func rawWrite(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e != syscall.EINTR {
			if e != 0 {
				return 0, e
			}
			return int(n), 0
		}
	}
}

func rawWritev(fd int32, a, b []byte) (int, syscall.Errno) {
	iov := [2]syscall.Iovec{{Base: unsafe.SliceData(a), Len: uint64(len(a))}, {Base: unsafe.SliceData(b), Len: uint64(len(b))}}
	for {
		n, _, e := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 2)
		if e != syscall.EINTR {
			if e != 0 {
				return 0, e
			}
			return int(n), 0
		}
	}
}

// epollWait polls without telling the scheduler; a wait that may block goes through Syscall, so that the scheduler gets its
// processor back.
func epollWait(ep int, events []syscall.EpollEvent, msec int) (int, error) {
	if msec == 0 {
		n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		if e != 0 {
			return 0, e
		}
		return int(n), nil
	}
	return syscall.EpollWait(ep, events, msec)
}

// result says what an errno of a read or write means.
func result(e syscall.Errno) http1.Result {
	if e == syscall.EAGAIN {
		return http1.Blocked
	}
	return http1.Failed
}

func closeFD(fd int32) { _ = syscall.Close(int(fd)) }

// resetFD closes with a reset, so that what was cut cannot look complete.
func resetFD(fd int32) {
	_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	closeFD(fd)
}

func setOption(fd int32, level, option int) {
	_ = syscall.SetsockoptInt(int(fd), level, option, 1)
}

func addrOf(sa syscall.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func sockaddr(a netip.AddrPort) (int, syscall.Sockaddr) {
	ip := a.Addr()
	if ip.Is4() || ip.Is4In6() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(a.Port()), Addr: ip.Unmap().As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
}

// dial begins a connection and returns its descriptor.
func dial(a netip.AddrPort) (int32, error) {
	family, sa := sockaddr(a)
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	setOption(int32(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
	for {
		err = syscall.Connect(fd, sa)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil && err != syscall.EINPROGRESS {
		_ = syscall.Close(fd)
		return -1, err
	}
	return int32(fd), nil
}

func socketError(fd int32) error {
	v, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return err
	}
	if v != 0 {
		return syscall.Errno(v)
	}
	return nil
}
