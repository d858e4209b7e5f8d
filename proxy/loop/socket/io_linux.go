package socket

import (
	"syscall"
	"unsafe"

	"portico/proxy/wire"
)

// Reads and writes are raw system calls: the descriptors never block, so the scheduler need not know (7 % of a small request's CPU),
// and for the same reason no signal interrupts them. They are made with RawSyscall6, which RawSyscall calls, and are small enough to
// be inlined: the kernel leaves nothing of the processor's memory of return addresses, so that each function on the way back is
// guessed wrong.

// Read returns how many bytes were read; with an error that is nonsense.
func Read(fd int32, b []byte) (n uintptr, e syscall.Errno) {
	n, _, e = syscall.RawSyscall6(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	return
}

// Quiet reports whether a descriptor is open and has nothing to read, not even an end.
func Quiet(fd int32) bool {
	var b [1]byte
	_, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return e == syscall.EAGAIN
}

// Write returns how many bytes were written; with an error that is nonsense.
func Write(fd int32, b []byte) (n uintptr, e syscall.Errno) {
	n, _, e = syscall.RawSyscall6(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	return
}

// WriteMore is rawWrite where more follows at once: the kernel waits for that before it sends the end.
func WriteMore(fd int32, b []byte) (n uintptr, e syscall.Errno) {
	n, _, e = syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), msgMore, 0, 0)
	return
}

const msgMore = 0x8000 // MSG_MORE, which syscall does not name

// Writev writes a and then b, and returns how many bytes of both were written; with an error that is nonsense.
func Writev(fd int32, a, b []byte) (n uintptr, e syscall.Errno) {
	iov := [2]syscall.Iovec{{Base: unsafe.SliceData(a), Len: uint64(len(a))}, {Base: unsafe.SliceData(b), Len: uint64(len(b))}}
	n, _, e = syscall.RawSyscall6(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 2, 0, 0, 0)
	return
}

// EpollWait polls without telling the scheduler; a wait that may block goes through Syscall, so that the scheduler gets its
// processor back.
func EpollWait(ep int, events []syscall.EpollEvent, msec int) (int, error) {
	if msec == 0 {
		n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		if e != 0 {
			return 0, e
		}
		return int(n), nil
	}
	return syscall.EpollWait(ep, events, msec)
}

// Result says what an errno of a read or write means.
func Result(e syscall.Errno) wire.Result {
	if e == syscall.EAGAIN {
		return wire.Blocked
	}
	return wire.Failed
}
