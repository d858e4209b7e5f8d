package beneath

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// ErrDeep is returned for folders that are nested deeper than anybody can mean.
var ErrDeep = errors.New("its folders are nested too deep to be counted")

const (
	// maxDepth of folders that are counted. What lies deeper than maxHeld is reached anew
	// from the top, step by step, so without an end the work would grow with its square.
	maxDepth = 4096
	// maxLater bounds the memory for the names of such folders.
	maxLater = 1024
	// nameCost is what the least file takes: its inode and its name. Without it,
	// millions of empty files would count as nothing.
	nameCost = 1 << 10
)

// Use is what a folder takes on disk.
type Use struct {
	Bytes int64 // blocks, and 1 KiB for each name
	Names int64 // files, folders and whatever else has a name
	Here  int64 // of Bytes, those on the file system that was asked about
}

// Use counts all that lies in d, following no links. A file with several names
// counts as its share for each. Of Bytes, those on the file system device are
// counted in Here as well. What cannot be read or goes away meanwhile is left out. After each
// batch of names pace is called; its error ends the count. Folders that are nested
// deeper than 4096, or thousands of them deeper than 64, are ErrDeep.
func (d *Dir) Use(device uint64, pace func() error) (Use, error) {
	u := user{device: device, pace: pace, later: []string{"."}}
	for len(u.later) > 0 {
		at := u.later[len(u.later)-1]
		u.later = u.later[:len(u.later)-1]
		dir, err := d.Dir(at)
		if err != nil {
			continue // it is gone or has been exchanged
		}
		if err := errors.Join(u.count(dir, at, strings.Count(at, "/"), 1), dir.Close()); err != nil {
			return u.use, err
		}
	}
	return u.use, nil
}

type user struct {
	device uint64
	pace   func() error
	use    Use
	later  []string // folders below that are too deep to hold all above them open
}

// count counts what lies in dir, which is at below the top and deep folders down; held of those are open.
func (u *user) count(dir *Dir, at string, deep, held int) error {
	f, err := dir.root.Open(".")
	if err != nil {
		return nil
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(batch)
		for _, name := range names {
			if err := u.one(dir, at, name, deep, held); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // the end, or it cannot be read
		}
		if err := u.pace(); err != nil {
			return err
		}
	}
}

func (u *user) one(dir *Dir, at, name string, deep, held int) error {
	fi, err := dir.Lstat(name)
	if err != nil {
		return nil
	}
	bytes, names, device := blocks(fi)
	if !fi.IsDir() {
		bytes /= int64(max(names, 1))
	}
	bytes += nameCost
	u.use.Names++
	u.use.Bytes += bytes
	if device == u.device {
		u.use.Here += bytes
	}
	if fi.Mode().Type() != fs.ModeDir {
		return nil
	}
	below := path.Join(at, name)
	switch {
	case deep >= maxDepth, len(u.later) >= maxLater:
		return ErrDeep
	case held >= maxHeld:
		u.later = append(u.later, below)
		return nil
	}
	sub, err := dir.Dir(name)
	if err != nil {
		return nil
	}
	return errors.Join(u.count(sub, below, deep+1, held+1), sub.Close())
}

// Device tells d's file system from others.
func (d *Dir) Device() uint64 {
	fi, err := d.root.Stat(".")
	if err != nil {
		return 0
	}
	_, _, device := blocks(fi)
	return device
}
