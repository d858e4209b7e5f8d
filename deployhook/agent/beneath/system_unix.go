//go:build unix

package beneath

import (
	"io/fs"
	"os"
	"syscall"
)

// withoutWaiting opens a pipe without its other end, a terminal without becoming
// its owner, and a file that is leased to somebody not at all.
const withoutWaiting = syscall.O_NONBLOCK | syscall.O_NOCTTY

// setWaiting takes the effect of withoutWaiting on reading and writing away again.
func setWaiting(f *os.File) error { return syscall.SetNonblock(int(f.Fd()), false) }

func syncFolder(f *os.File) error { return f.Sync() }

// inode returns who owns a file and how many names it has.
func inode(fi fs.FileInfo) (owner int, names uint64) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), uint64(st.Nlink)
	}
	return -1, 1
}

// owners returns a file's account and group.
func owners(fi fs.FileInfo) (uid, gid int, known bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// blocks returns what a file has of the disk in bytes, how many names it has, and
// which file system it lies on.
func blocks(fi fs.FileInfo) (bytes int64, names, device uint64) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fi.Size(), 1, 0
	}
	return st.Blocks * 512, uint64(st.Nlink), uint64(st.Dev)
}

// Allotted returns what a file has of the disk in bytes, which may be more than its size.
func Allotted(fi fs.FileInfo) int64 {
	n, _, _ := blocks(fi)
	return max(n, fi.Size())
}
