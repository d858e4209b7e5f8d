//go:build unix

package descriptors

import (
	"math"
	"os"
	"syscall"
)

// openLimit is how many descriptors this process may have.
func openLimit() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return math.MaxInt64
	}
	return uint64(r.Cur) // signed on FreeBSD
}

// openSpare opens a descriptor for nothing. os.Open would offer it to the poller, which takes six system calls for one.
func openSpare() (uintptr, error) {
	fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	return uintptr(fd), err
}

func closeSpare(fd uintptr) { _ = syscall.Close(int(fd)) }
