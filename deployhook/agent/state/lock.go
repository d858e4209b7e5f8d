package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrLocked: another agent works in the same directory.
var ErrLocked = errors.New("another agent is running in this directory")

// Lock is a process's hold on the state directory of an agent. It ends with the process.
type Lock struct{ f *os.File }

// LockDir takes the state directory dir for this process, or fails with ErrLocked. A process that
// joins a cluster takes it before, so that the second one of a machine changes nothing there: the
// cluster would believe the addresses that it tells.
func LockDir(dir string) (*Lock, error) {
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o755}, {"agent", 0o700}} {
		if err := MakeDir(filepath.Join(dir, d.name), d.mode); err != nil {
			return nil, fmt.Errorf("open agent directory: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "agent", "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open agent directory: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w (%s): stop it, or give this one another --dir", ErrLocked, dir)
	}
	// For who wants to stop this process; the lock is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	return &Lock{f}, nil
}

// Holder returns the process that has the state directory dir, if one has: after LockDir has
// failed with ErrLocked. 0: it has not said.
func Holder(dir string) int {
	b, err := os.ReadFile(filepath.Join(dir, "agent", "lock"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// Close gives the directory back. It may be called twice.
func (l *Lock) Close() error {
	if err := l.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// MakeDir makes a folder with exactly this mode, whatever the umask; one that
// is there keeps its owner and loses no access that it gave.
func MakeDir(name string, mode os.FileMode) error {
	if err := os.MkdirAll(name, mode); err != nil {
		return err
	}
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	if have := fi.Mode().Perm(); have&mode != mode {
		return os.Chmod(name, have|mode)
	}
	return nil
}
