//go:build linux || darwin

package agent

import (
	"syscall"

	"portico/membership/catalog"
)

// diskRoom returns the room on dir's file system, zero when it cannot be read.
func diskRoom(dir string) catalog.DiskReport {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return catalog.DiskReport{}
	}
	return catalog.DiskReport{Free: int64(s.Bavail) * int64(s.Bsize), Total: int64(s.Blocks) * int64(s.Bsize)}
}
