package unsent

import (
	"syscall"
	"unsafe"
)

// Told reports whether this system says what it holds.
const Told = true

// HeldFor returns how many bytes that were written to a TCP socket the other side has not acknowledged; below 0: the system does not tell.
// It does not wait.
func HeldFor(fd uintptr) int {
	n := int32(0)
	// SIOCOUTQ is TIOCOUTQ by another name; it waits for no lock.
	if _, _, e := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); e != 0 {
		return -1
	}
	return int(n)
}

func limitSocket(fd uintptr) {
	const notSentLowat = 25 // TCP_NOTSENT_LOWAT
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, most)
}
