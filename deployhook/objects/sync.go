package objects

import (
	"errors"
	"os"
	"runtime"
	"sync"
)

const (
	// flushTogether is the number of files from which one flush of the whole
	// file system beats a flush of each, where the system offers it.
	flushTogether = 32
	// flushParallel keeps enough flushes in flight for a journal to commit
	// them in groups, and few enough to leave the disk usable for others.
	flushParallel = 16
)

// opener is os.OpenFile, or that of a folder which is held open.
type opener func(name string, flag int, perm os.FileMode) (*os.File, error)

// flushEach flushes files one by one, several at a time.
func flushEach(open opener, files []string) error {
	return inParallel(files, func(name string) error {
		flag := os.O_RDONLY
		if runtime.GOOS == "windows" {
			flag = os.O_RDWR // which is what FlushFileBuffers asks for
		}
		f, err := open(name, flag, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// flushDirs makes the entries of folders below one folder durable. Windows cannot flush a
// folder; NTFS journals renames itself.
func flushDirs(open opener, below string, dirs []string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return flushMany(open, below, dirs)
}

// inParallel runs do for every item, flushParallel at a time, and returns the
// first error. It waits for all that it started.
func inParallel(items []string, do func(string) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		next  = make(chan string)
	)
	for range min(flushParallel, len(items)) {
		wg.Go(func() {
			for item := range next {
				if err := do(item); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	wg.Wait()
	return first
}
