package objects

import (
	"os"

	"golang.org/x/sys/unix"
)

// flushMany makes many files or folders below dir durable. One syncfs costs
// about as much as a handful of fsyncs, and a release has thousands of files.
func flushMany(open opener, dir string, files []string) error {
	if len(files) < flushTogether {
		return flushEach(open, files)
	}
	d, err := open(dir, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
