//go:build unix

package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
)

// shimFailed is the exit status of a Shim that could not become the process:
// the shell's number for a command that was not found.
const shimFailed = 127

// Shim makes the calling process a site's process: it applies the limits that
// the standard library cannot apply to a child (no new privileges, resource
// limits, umask, a higher chance to be chosen when memory runs out) and
// replaces itself. The command calls it with the arguments after "__run". It
// returns, with an exit status, only when it failed; the reason goes to stderr,
// which is the instance's log.
//
// It runs as the site's account already, in the site's environment, so whatever
// that environment does to it gains nothing.
func Shim(args []string, stderr io.Writer) int {
	// no_new_privs belongs to a thread, and execve keeps that of the thread
	// that calls it.
	runtime.LockOSThread()
	if len(args) < 3 || args[1] != "--" {
		fmt.Fprintln(stderr, "portico: this subcommand is for the agent's own use")
		return 2
	}
	var s shimSpec
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		fmt.Fprintf(stderr, "portico: read start instructions: %v\n", err)
		return shimFailed
	}
	if err := s.apply(); err != nil {
		fmt.Fprintf(stderr, "portico: limit %s: %v\n", s.Path, err)
		return shimFailed
	}
	err := syscall.Exec(s.Path, args[2:], os.Environ())
	fmt.Fprintf(stderr, "portico: start %s: %v\n", s.Path, err)
	return shimFailed
}

func (s shimSpec) apply() error {
	syscall.Umask(s.Umask)
	if s.Nice != 0 {
		// Best effort: an agent that is nice itself may be nicer already.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, s.Nice)
	}
	if err := lower(syscall.RLIMIT_CORE, 0); err != nil {
		return fmt.Errorf("core files: %w", err)
	}
	if s.Memory != 0 {
		if err := lower(syscall.RLIMIT_DATA, s.Memory); err != nil {
			return fmt.Errorf("memory: %w", err)
		}
	}
	if s.Files != 0 {
		if err := lower(syscall.RLIMIT_NOFILE, s.Files); err != nil {
			return fmt.Errorf("open files: %w", err)
		}
	}
	if err := s.applySystem(); err != nil {
		return err
	}
	if s.Processes != 0 {
		n := s.Processes
		if s.Shared {
			n += ownTasks()
		}
		if err := lower(rlimitProcesses, n); err != nil {
			return fmt.Errorf("processes: %w", err)
		}
	}
	return nil
}

// lower sets both limits to n, or to the hard limit where that is lower. It
// uses the syscall package because syscall.Exec restores the limit of open
// files that the runtime raised unless it was set through there.
func lower(what int, n uint64) error {
	var have syscall.Rlimit
	if err := syscall.Getrlimit(what, &have); err != nil {
		return err
	}
	n = min(n, have.Max)
	return syscall.Setrlimit(what, &syscall.Rlimit{Cur: n, Max: n})
}
