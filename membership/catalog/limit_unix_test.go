//go:build unix

package catalog_test

import (
	"os/signal"
	"syscall"
)

const canLimitFileSize, canLimitFiles = true, true

// limitFiles lets this process have n descriptors at a time.
func limitFiles(n uint64) {
	limit := syscall.Rlimit{Cur: n, Max: n}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
}

// limitFileSize makes every file of this process end at n bytes, with an error as
// of a full disk.
func limitFileSize(n uint64) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: n, Max: n}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		panic(err)
	}
}
