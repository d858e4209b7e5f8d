package unsent

import "syscall"

// Told reports whether this system says what it holds.
const Told = false

// HeldFor does not tell.
func HeldFor(uintptr) int { return -1 }

func limitSocket(fd uintptr) {
	const notSentLowat = 0x201 // TCP_NOTSENT_LOWAT
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowat, most)
}
