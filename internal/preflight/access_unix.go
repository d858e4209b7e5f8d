//go:build !windows

package preflight

import (
	"fmt"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// mayWrite returns why this process cannot make files in a folder; nil: it can.
func mayWrite(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}

// ownerOf is whose a file is, in words that a sentence goes on with.
func ownerOf(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("belongs to %s, ", accountName(int(st.Uid)))
	}
	return ""
}
