//go:build unix && !linux

package process

import (
	"errors"
	"syscall"
)

// rlimitProcesses is RLIMIT_NPROC, which the syscall package does not name on
// the BSDs and macOS.
const rlimitProcesses = 7

func (s shimSpec) applySystem() error { return nil }

// ownTasks is not known here; the limit then counts from zero, and the site
// gets a little less.
func ownTasks() uint64 { return 0 }

func reapUser(int, int) error { return errors.New("BUG: sites have users of their own on Linux only") }

func duplicate(from, to int) error { return syscall.Dup2(from, to) }

func (s shimSpec) cover() error { return errors.New("BUG: mount namespaces are Linux's") }
