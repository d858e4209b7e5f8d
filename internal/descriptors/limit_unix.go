//go:build unix

package descriptors

import (
	"math"
	"syscall"
)

// openLimit is how many descriptors this process may have.
func openLimit() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return math.MaxInt64
	}
	return uint64(r.Cur) //nolint:unconvert // signed on FreeBSD
}
