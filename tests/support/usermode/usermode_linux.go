// Package usermode starts Linux as a program (the package user-mode-linux), for tests that need a kernel of their own.
package usermode

import (
	"fmt"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Program is the kernel's name in the search path.
const Program = "linux.uml"

// Start starts a command that runs Program. The kernel asks for the large form of its programs' floating point registers and has room for
// that of processors of its time; on later ones it fails in its first process ("ptrace set fp regs failed"). Where it is refused that
// form it takes the small one, so it is refused. The small one lacks the upper halves of the wide registers, which the threads of a
// program would share, so programs of Go are told to leave those alone.
func Start(cmd *exec.Cmd) error {
	cmd.Args = append(cmd.Args, "GODEBUG=cpu.all=off") // the first process has it in its environment
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never let go: the thread ends with its filter
		if err := refuse(); err != nil {
			done <- fmt.Errorf("filter system calls: %w", err)
			return
		}
		done <- cmd.Start() // the child has the filter of the thread that starts it
	}()
	return <-done
}

// The words of struct seccomp_data that the filter reads, and the request that it refuses.
const (
	offNumber, offRequest, offKind = 0, 16, 32

	getRegSet = 0x4204 // PTRACE_GETREGSET
	xstate    = 0x202  // NT_X86_XSTATE
)

// refuse has the calling thread, and what it starts, get EINVAL for one request of ptrace.
func refuse() error {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(is uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: is}
	}
	end := func(with uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with} }
	filter := []unix.SockFilter{
		load(offNumber), unless(unix.SYS_PTRACE, 5),
		load(offRequest), unless(getRegSet, 3),
		load(offKind), unless(xstate, 1),
		end(unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)),
		end(unix.SECCOMP_RET_ALLOW),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0) // a system call
}
