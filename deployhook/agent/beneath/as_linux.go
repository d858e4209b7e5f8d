package beneath

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// As runs look with an account's rights to files and in no group but gid: what
// look opens or asks for by name, the account could open or ask for itself. look must not
// leave goroutines that go on, and is only for files: the rest of this program's rights stay.
func As(uid, gid int, look func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so that it ends with the goroutine and
		// nothing else ever runs on it.
		runtime.LockOSThread()
		if err := become(uid, gid); err != nil {
			done <- err
			return
		}
		done <- look()
	}()
	return <-done
}

// become changes what one thread may do with files. The calls are the system's own, which
// know threads; those of package syscall change all of them.
func become(uid, gid int) error {
	if err := unix.Setgroups(nil); err != nil {
		return fmt.Errorf("leave groups: %w", err)
	}
	// Neither call reports a failure: a second one tells what holds.
	if _, err := unix.SetfsgidRetGid(gid); err != nil {
		return fmt.Errorf("become group %d: %w", gid, err)
	}
	if now, _ := unix.SetfsgidRetGid(-1); now != gid {
		return fmt.Errorf("become group %d: it is not allowed to this program (CAP_SETGID)", gid)
	}
	if _, err := unix.SetfsuidRetUid(uid); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	if now, _ := unix.SetfsuidRetUid(-1); now != uid {
		return fmt.Errorf("become user %d: it is not allowed to this program (CAP_SETUID)", uid)
	}
	return nil
}
