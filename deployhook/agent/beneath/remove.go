package beneath

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

const (
	// maxHeld is how many folders one removal holds open at a time. What lies deeper
	// is moved up first: somebody may have made a chain of folders that is longer than the
	// descriptors that a process may have.
	maxHeld = 64
	// batch is how many names of a folder are read at a time.
	batch = 512
	// liftedName begins the names of what was moved up.
	liftedName = ".portico-removed-"
)

// RemoveAll removes name, a single name in d, and all that lies below it, links
// and never what they lead to. What is not there is fine. Somebody who goes on making files
// meanwhile gets an error out of it, and no more.
func (d *Dir) RemoveAll(name string) error {
	if err := d.root.Remove(name); err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	top, err := openToRemove(d.root, name)
	if err != nil {
		return err
	}
	r := remover{top: top}
	err = r.empty(top, ".", 1)
	for err == nil && len(r.lifted) > 0 {
		name := r.lifted[0]
		r.lifted = r.lifted[1:]
		err = r.entry(top, ".", name, 1)
	}
	if err = errors.Join(err, top.Close()); err != nil {
		return err
	}
	return d.root.Remove(name)
}

// remover empties one folder, top.
type remover struct {
	top    *os.Root
	lifted []string // folders that were moved up to top and may still be there
}

// empty removes all that lies in dir, which is at below top.
func (r *remover) empty(dir *os.Root, at string, depth int) error {
	for {
		names, err := someNames(dir)
		if err != nil || len(names) == 0 {
			return err
		}
		var failed []error
		for _, name := range names {
			if err := r.entry(dir, at, name, depth); err != nil {
				failed = append(failed, err)
			}
		}
		if len(failed) == len(names) {
			return failed[0]
		}
	}
}

// someNames reads the folder anew each time: what is removed moves the rest of
// some file systems' folders about.
func someNames(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(batch)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// entry removes one name in dir.
func (r *remover) entry(dir *os.Root, at, name string, depth int) error {
	err := dir.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if fi, lerr := dir.Lstat(name); lerr != nil || !fi.IsDir() {
		return err
	}
	if depth >= maxHeld {
		up := liftedName + rand.Text() // nobody can lie in wait there
		if err := r.top.Rename(path.Join(at, name), up); err != nil {
			return err
		}
		r.lifted = append(r.lifted, up)
		return nil
	}
	sub, err := openToRemove(dir, name)
	if err != nil {
		return err
	}
	err = r.empty(sub, path.Join(at, name), depth+1)
	if err = errors.Join(err, sub.Close()); err != nil {
		return err
	}
	return dir.Remove(name)
}

// openToRemove opens a folder that its owner may have closed to himself.
func openToRemove(dir *os.Root, name string) (*os.Root, error) {
	sub, err := openFolder(dir, name)
	if err == nil {
		if fi, serr := sub.Stat("."); serr != nil || fi.Mode()&0o700 == 0o700 {
			return sub, nil
		}
		_ = sub.Close()
	} else if !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if err := dir.Chmod(name, 0o700); err != nil {
		return nil, err
	}
	return openFolder(dir, name)
}
