//go:build linux || darwin

package diskwatch

import "syscall"

// Free returns the room on dir's file system, zero when it cannot be read.
func Free(dir string) Room {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return Room{}
	}
	return Room{
		Free: int64(s.Bavail) * int64(s.Bsize), Total: int64(s.Blocks) * int64(s.Bsize),
		Names: int64(s.Ffree), AllOf: int64(s.Files),
	}
}
