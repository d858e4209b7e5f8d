// Package beneath works in folders that somebody else can change meanwhile: a
// site's own process may turn any name in its folders into a link, a pipe or
// another's file between two calls of an agent that is root. Whatever goes through
// a Dir stays below it, waits for nobody, and changes the owner of nothing by name.
package beneath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

var (
	// ErrLink is returned where a folder was asked for and a link lies there.
	ErrLink = errors.New("it is a link, which is not followed")
	// ErrNotRegular is returned where a file was asked for and a folder, pipe,
	// socket or device lies there.
	ErrNotRegular = errors.New("it is not a regular file")
	// ErrChanged is returned when somebody exchanged a name in the moment in which
	// it was opened. Another attempt may succeed.
	ErrChanged = errors.New("it was exchanged while it was being opened")
)

// Dir is a folder that is held open. It stays the same folder whatever becomes of
// its name. It is safe for concurrent use.
type Dir struct{ root *os.Root }

// Open opens the folder path, following links in it. Nobody but this program's
// account may be able to change what path means.
func Open(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root}, nil
}

// Close lets go of the folder. It may be called twice.
func (d *Dir) Close() error { return d.root.Close() }

// Root returns the same folder for code that writes where nobody else can: os.Root
// lets nothing out either, but its Open and OpenRoot wait for a pipe's other end, and its Chown
// and Chmod take a file by its name.
func (d *Dir) Root() *os.Root { return d.root }

// Dir opens a folder below d, "/" between names. None of the names may be a link (ErrLink).
func (d *Dir) Dir(name string) (*Dir, error) {
	at := d.root
	for part := range strings.SplitSeq(name, "/") {
		next, err := openFolder(at, part)
		if at != d.root {
			_ = at.Close()
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	return &Dir{at}, nil
}

// openFolder opens the folder part of at, itself and no link to it.
func openFolder(at *os.Root, part string) (*os.Root, error) {
	before, err := at.Lstat(part)
	switch {
	case err != nil:
		return nil, err
	case before.Mode()&fs.ModeSymlink != 0:
		return nil, &fs.PathError{Op: "open", Path: part, Err: ErrLink}
	case !before.IsDir():
		return nil, &fs.PathError{Op: "open", Path: part, Err: errors.New("it is not a folder")}
	}
	// With the dot, the system opens a folder or fails: a pipe that took the name is not waited for.
	next, err := at.OpenRoot(part + "/.")
	if err != nil {
		return nil, err
	}
	after, err := next.Stat(".")
	if err == nil && !os.SameFile(before, after) {
		err = &fs.PathError{Op: "open", Path: part, Err: ErrChanged}
	}
	if err != nil {
		return nil, errors.Join(err, next.Close())
	}
	return next, nil
}

// Make opens the folder name in d, a single name, and makes it before, with that
// mode, where nothing is. Whatever is there already keeps its owner and its mode.
func (d *Dir) Make(name string, mode fs.FileMode) (*Dir, error) {
	if err := d.root.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return d.Dir(name)
}

// Lstat describes name, itself and not what it may link to.
func (d *Dir) Lstat(name string) (fs.FileInfo, error) { return d.root.Lstat(name) }

// Names returns what lies in d, in no order.
func (d *Dir) Names() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// File opens a regular file below d for reading. Links are followed as long as
// they do not lead out of d. Anything but a regular file is ErrNotRegular.
func (d *Dir) File(name string) (*os.File, fs.FileInfo, error) {
	return d.OpenFile(name, os.O_RDONLY, 0)
}

// OpenFile is File with the flags of os.OpenFile.
func (d *Dir) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, fs.FileInfo, error) {
	f, err := d.root.OpenFile(name, flag|withoutWaiting, perm)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err == nil && flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		err = setWaiting(f) // it may become another program's output
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, fi, nil
}

// Own gives the folder itself, and nothing in it, to an account. An id of -1 stays as it is.
func (d *Dir) Own(uid, gid int) error {
	return d.itself(func(f *os.File) error { return f.Chown(uid, gid) })
}

// Chmod changes the mode of the folder itself.
func (d *Dir) Chmod(mode fs.FileMode) error {
	return d.itself(func(f *os.File) error { return f.Chmod(mode) })
}

// itself does something with the open folder.
func (d *Dir) itself(do func(*os.File) error) error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

// GiveAway gives all that lies in d, but not d itself, to an account, to read and
// write: 0600, and 0700 for folders and for files that their owner may execute.
// With uid -1 the owner stays. What is deepest goes first, so that nobody gets into
// a folder of which the rest is still to come. A file that has another name as well
// is refused unless it is the account's already: that name may be anywhere.
func (d *Dir) GiveAway(uid, gid int) error {
	names, err := d.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.giveOne(name, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) giveOne(name string, uid, gid int) error {
	fi, err := d.Lstat(name)
	if err != nil {
		return err
	}
	if fi.IsDir() {
		sub, err := d.Dir(name)
		if err != nil {
			return err
		}
		err = sub.GiveAway(uid, gid)
		if err == nil {
			err = sub.Chmod(0o700)
		}
		if err == nil && uid >= 0 {
			err = sub.Own(uid, gid)
		}
		return errors.Join(err, sub.Close())
	}
	f, fi, err := d.File(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if owner, names := inode(fi); names > 1 && owner != uid && uid >= 0 {
		return fmt.Errorf("%s has %d names, and one of them may be another's file: it is not given to account %d", name, names, uid)
	}
	mode := fs.FileMode(0o600)
	if fi.Mode()&0o100 != 0 {
		mode = 0o700
	}
	if uid >= 0 {
		err = f.Chown(uid, gid)
	}
	return errors.Join(err, f.Chmod(mode))
}

// Move renames what lies below d and makes it durable. What was put at either name
// meanwhile lay below d as well, and nothing but an empty folder is replaced by a folder.
func (d *Dir) Move(from, to string) error {
	if err := d.root.Rename(from, to); err != nil {
		return err
	}
	return d.itself(syncFolder)
}

// Readable reports whether an account that is in one group could open a file for
// reading, or make it so because it is its own.
func Readable(fi fs.FileInfo, uid, gid int) bool {
	owner, group, known := owners(fi)
	switch {
	case !known || owner == uid:
		return true
	case group == gid:
		return fi.Mode()&0o040 != 0
	}
	return fi.Mode()&0o004 != 0
}

// Empty reports whether d is this program's own, open to nobody else and without
// anything in it: then nobody but root can put something there.
func (d *Dir) Empty() (bool, error) {
	fi, err := d.root.Stat(".")
	if err != nil {
		return false, err
	}
	names, err := d.Names()
	owner, _, known := owners(fi)
	return len(names) == 0 && (!known || owner == os.Geteuid() && fi.Mode().Perm()&0o077 == 0), err
}
