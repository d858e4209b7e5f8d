//go:build unix

package catalog_test

import (
	"os/signal"
	"syscall"
)

const canLimitFileSize = true

// limitFileSize makes every file of this process end at n bytes, with an error as
// of a full disk.
func limitFileSize(n uint64) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: n, Max: n}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		panic(err)
	}
}
