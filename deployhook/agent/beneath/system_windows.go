package beneath

import (
	"io/fs"
	"os"
)

const withoutWaiting = 0

func setWaiting(*os.File) error { return nil }

// syncFolder has nothing to do: NTFS journals renames itself.
func syncFolder(*os.File) error { return nil }

// inode knows nothing here: the agent gives no files to other accounts.
func inode(fs.FileInfo) (owner int, names uint64) { return -1, 1 }

func owners(fs.FileInfo) (uid, gid int, known bool) { return 0, 0, false }

func blocks(fi fs.FileInfo) (bytes int64, names, device uint64) { return fi.Size(), 1, 0 }

// Allotted returns what a file has of the disk in bytes: here, its size.
func Allotted(fi fs.FileInfo) int64 { return fi.Size() }
