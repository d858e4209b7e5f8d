//go:build unix

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"syscall"

	"portico/deployhook/agent/account"
)

// shimFailed is the exit status of a Shim that could not become the process:
// the shell's number for a command that was not found.
const shimFailed = 127

// Shim makes the calling process a site's process: it applies what the standard
// library cannot apply to a child (no new privileges, resource limits, umask, a
// higher chance to be chosen when memory runs out) and replaces itself. The
// command calls it, before it does anything else, when its first argument is
// "__run", with the arguments after that. It returns, with an exit status, only
// when it failed; the reason goes to stderr, which is the instance's log.
//
// The environment that it starts with is empty: that of the site is only for the
// process that it becomes.
func Shim(args []string, stderr io.Writer) int {
	// no_new_privs belongs to a thread, and execve keeps that of the thread
	// that calls it.
	runtime.LockOSThread()
	if len(args) != 0 {
		fmt.Fprintln(stderr, "portico: this subcommand is for the agent's own use")
		return 2
	}
	var s shimSpec
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		fmt.Fprintf(stderr, "portico: read start instructions: %v\n", err)
		return shimFailed
	}
	if s.Reap != 0 {
		if err := reapUser(s.Reap, s.UID); err != nil {
			fmt.Fprintf(stderr, "portico: end processes of user %d: %v\n", s.Reap, err)
			return shimFailed
		}
		return 0
	}
	if err := s.apply(); err != nil {
		fmt.Fprintf(stderr, "portico: prepare %s: %v\n", s.Path, err)
		return shimFailed
	}
	err := syscall.Exec(s.Path, s.Args, s.Env)
	fmt.Fprintf(stderr, "portico: start %s: %v\n", s.Path, err)
	return shimFailed
}

func (s shimSpec) apply() error {
	if err := emptyStdin(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if s.Cover != "" {
		if err := s.enter(); err != nil {
			return err
		}
	}
	if os.Getuid() == 0 && !account.RootInName() {
		return errors.New("BUG: a site would run as root")
	}
	if err := os.Chdir(s.Dir); err != nil {
		return err
	}
	syscall.Umask(s.Umask)
	// Best effort: an agent that is nice itself may be nicer already.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, s.Nice)
	if err := s.applySystem(); err != nil {
		return err
	}
	return s.limit()
}

// enter makes the site's folder reachable and becomes the site's account.
func (s shimSpec) enter() error {
	if s.UID == 0 || s.GID == 0 {
		return errors.New("BUG: a site would run as root")
	}
	if err := s.cover(); err != nil {
		return err
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("leave groups: %w", err)
	}
	if err := syscall.Setgid(s.GID); err != nil {
		return fmt.Errorf("become group %d: %w", s.GID, err)
	}
	if err := syscall.Setuid(s.UID); err != nil {
		return fmt.Errorf("become user %d: %w", s.UID, err)
	}
	return nil
}

// emptyStdin replaces the pipe that the instructions came over.
func emptyStdin() error {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	return errors.Join(duplicate(int(f.Fd()), 0), f.Close())
}

func (s shimSpec) limit() error {
	if err := lower(syscall.RLIMIT_CORE, 0); err != nil {
		return fmt.Errorf("limit core files: %w", err)
	}
	if s.Files != 0 {
		if err := lower(syscall.RLIMIT_NOFILE, s.Files); err != nil {
			return fmt.Errorf("limit open files: %w", err)
		}
	}
	if s.Processes != 0 {
		n := s.Processes
		if s.Shared {
			n += ownTasks()
		}
		if err := lower(rlimitProcesses, n); err != nil {
			return fmt.Errorf("limit processes: %w", err)
		}
	}
	// Last: what comes after it in this process would count.
	if s.Memory != 0 {
		if err := lower(syscall.RLIMIT_DATA, s.Memory); err != nil {
			return fmt.Errorf("limit memory: %w", err)
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
	lowerTo(&have.Cur, &have.Max, n)
	return syscall.Setrlimit(what, &have)
}

// lowerTo serves both types that systems give a limit: FreeBSD's has a sign.
func lowerTo[T int64 | uint64](soft, hard *T, n uint64) {
	*hard = min(*hard, T(min(n, math.MaxInt64)))
	*soft = *hard
}
