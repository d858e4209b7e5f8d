package process

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB of sys/proc.h.
const zombie = 5

// CanAdopt: an agent finds the processes of the one before it.
const CanAdopt = true

// markOf returns a text that no other process of this machine has together
// with this pid: the microsecond of its start. False: no such process, or it is
// dead and waits to be reaped.
func markOf(pid int) (string, bool) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid || k.Proc.P_stat == zombie {
		return "", false
	}
	t := k.Proc.P_starttime
	return strconv.FormatInt(int64(t.Sec), 10) + "." + strconv.FormatInt(int64(t.Usec), 10), true
}

func alive(pid int, mark string) bool {
	m, ok := markOf(pid)
	return ok && m == mark
}

// Instances finds nothing: macOS shows no other process's environment.
func Instances(func(id, data string) bool) []int { return nil }

func ownMounts(*syscall.SysProcAttr) {}

func sessionOf(int) int { return 0 }

func intoGroup(*syscall.SysProcAttr, int) {}
