package start

import "os"

// ours reports whether a folder is this user's: each has temporary ones of his own.
func ours(dir string) bool {
	fi, err := os.Lstat(dir)
	return err == nil && fi.IsDir()
}
