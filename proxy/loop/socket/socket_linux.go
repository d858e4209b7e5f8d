package socket

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"
)

// What a loop does to sockets never blocks, so it goes past the scheduler: a loop that had told it of a system call could find its
// processor given away, and would wait until one is free.

// Accept takes one connection from a listener.
func Accept(ln int32) (int32, netip.AddrPort, syscall.Errno) {
	var sa syscall.RawSockaddrAny
	size := uint32(syscall.SizeofSockaddrAny)
	fd, _, e := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(ln), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
		syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return -1, netip.AddrPort{}, e
	}
	return int32(fd), addrOf(&sa), 0
}

func addrOf(sa *syscall.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case syscall.AF_INET:
		a := (*syscall.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), swapped(a.Port))
	case syscall.AF_INET6:
		a := (*syscall.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), swapped(a.Port))
	}
	return netip.AddrPort{}
}

// swapped turns a port from or into the network's order of bytes.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// Connect begins a connection.
func Connect(fd int32, a netip.AddrPort) syscall.Errno {
	if a.Addr().Unmap().Is4() {
		sa := syscall.RawSockaddrInet4{Family: syscall.AF_INET, Port: swapped(a.Port()), Addr: a.Addr().Unmap().As4()}
		_, _, e := syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), syscall.SizeofSockaddrInet4)
		return e
	}
	sa := syscall.RawSockaddrInet6{Family: syscall.AF_INET6, Port: swapped(a.Port()), Addr: a.Addr().As16()}
	_, _, e := syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), syscall.SizeofSockaddrInet6)
	return e
}

// ReserveTable makes the kernel's table of descriptors large at once. It would grow by doubling, and each time the loop that happened to
// open a socket would wait, for many milliseconds, until every processor has seen the new table.
func ReserveTable() {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || r.Cur < 2 {
		return
	}
	last := min(r.Cur, tableSize) - 1
	null, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	if fd, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(null), syscall.F_DUPFD_CLOEXEC, uintptr(last)); e == 0 {
		Close(int32(fd))
	}
	Close(int32(null))
}

// tableSize is half a megabyte of the kernel's memory.
const tableSize = 64 << 10

// Family returns the protocol family of an address, as socket(2) wants it.
func Family(a netip.AddrPort) int {
	if a.Addr().Unmap().Is4() {
		return syscall.AF_INET
	}
	return syscall.AF_INET6
}

// Close closes a descriptor.
func Close(fd int32) { _, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }

// Shutdown ends our direction.
func Shutdown(fd int32) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(fd), syscall.SHUT_WR, 0)
}

// Reset closes with a reset, so that what was cut cannot look complete.
func Reset(fd int32) {
	on := syscall.Linger{Onoff: 1}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, uintptr(unsafe.Pointer(&on)), syscall.SizeofLinger, 0)
	Close(fd)
}

// SetOption turns an option on.
func SetOption(fd int32, level, option int) {
	on := int32(1)
	_, _, _ = syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&on)), 4, 0)
}

// Error is what became of a connection.
func Error(fd int32) error {
	v, size := int32(0), uint32(4)
	_, _, e := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, syscall.SO_ERROR, uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0)
	switch {
	case e != 0:
		return e
	case v != 0:
		return syscall.Errno(v)
	}
	return nil
}
