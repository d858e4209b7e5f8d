package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/cgroup"
)

// Spec is one process to start.
type Spec struct {
	Path    string   // resolved executable
	Args    []string // with the name at index 0
	Dir     string   // working directory, resolved
	Env     []string // whole environment
	Account account.Account
	Site    string // the site's folder
	Cover   string // see shimSpec; empty: none is needed
	Limits  Limits
	Group   *cgroup.Group // to run in; nil: none
	Refused func(error)   // called when it was started without Group, which the system refuses
	After   func()        // called when all is gone; nil: nothing
	Log     *os.File      // standard output and error; the process keeps it when the agent dies
}

// Limits bound one process; zero fields do not.
type Limits struct {
	Files, Processes int
	Memory           int64
}

// Process is a running process and its group: one that this agent started, or
// one that it adopted.
type Process struct {
	PID     int
	Mark    string
	ID      string        // instance, as in the process's environment
	Done    chan struct{} // closed when it has ended and its group with it
	Status  string        // how it ended; set before Done is closed
	Code    int           // exit status; -1: killed, or not known
	sys     system
	stopped sync.Once
	Group   *cgroup.Group // it runs in; nil: none
	After   func()        // called when all is gone; nil: nothing
}

// adoptedPoll is how often an adopted process is looked at: it is not a child,
// so nothing tells when it ends.
const adoptedPoll = 200 * time.Millisecond

// SweepTime bounds the end of what an instance has left behind.
const SweepTime = 10 * time.Second

// Start starts s in a session of its own. The caller must receive from
// Done, or call Stop, before it forgets the process.
func Start(s Spec, id string, shim []string) (*Process, error) {
	p := &Process{ID: id, Done: make(chan struct{}), Group: s.Group, After: s.After}
	cmd, err := p.launch(s, shim)
	if s.Group != nil && groupRefused(err) {
		refusal := err
		s.Group = nil
		if cmd, err = p.launch(s, shim); err == nil {
			s.Refused(refusal)
		}
	}
	if err != nil {
		p.sweepRest()
		return nil, fmt.Errorf("start %s: %w", s.Args[0], err)
	}
	p.PID = cmd.Process.Pid
	p.Mark, _ = markOf(p.PID)
	go func() {
		defer close(p.Done)
		_ = cmd.Wait()
		p.Status, p.Code = cmd.ProcessState.String(), cmd.ProcessState.ExitCode()
		p.Status += p.overLimit()
		p.sweep()
		p.sweepRest()
	}()
	return p, nil
}

// launch starts s's process with a command of its own: one that has failed to
// start cannot be started again.
func (p *Process) launch(s Spec, shim []string) (*exec.Cmd, error) {
	cmd, err := s.command(shim)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = s.Log, s.Log
	return cmd, p.sys.start(cmd, s)
}

// groupRefused reports whether a start failed because nothing can be started in
// a control group here: a filter on system calls refuses it, as in containers
// (EPERM, ENOSYS), or the kernel is older than 5.7 (E2BIG). A group that is full
// (EAGAIN) is none of that: its limit would be no limit. An error that has
// another cause comes again without the group.
func groupRefused(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.E2BIG)
}

// overLimit says which limit of its group ended the process; empty: none.
func (p *Process) overLimit() string {
	if p.Group == nil {
		return ""
	}
	return p.Group.OverLimit()
}

func (s Spec) command(shim []string) (*exec.Cmd, error) {
	if len(shim) == 0 {
		return &exec.Cmd{Path: s.Path, Args: s.Args, Dir: s.Dir, Env: s.Env}, nil
	}
	spec, err := json.Marshal(shimSpec{
		Path: s.Path, Args: s.Args, Env: s.Env, Dir: s.Dir,
		Cover: s.Cover, Site: s.Site, UID: s.Account.UID, GID: s.Account.GID,
		Umask:     0o077,
		Files:     uint64(s.Limits.Files),
		Processes: uint64(s.Limits.Processes),
		Shared:    s.Account.Shared,
		Memory:    uint64(s.Limits.Memory),
		OOMScore:  siteOOMScore,
		Nice:      siteNice,
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Args[0], err)
	}
	// An empty environment, which is not the same as none.
	return &exec.Cmd{Path: shim[0], Args: shim, Env: []string{}, Dir: "/", Stdin: bytes.NewReader(spec)}, nil
}

const (
	// siteOOMScore makes the kernel take a site before the agent and whatever
	// else the machine does.
	siteOOMScore = 300
	// siteNice lets the agent, which relays every site's traffic, run before a
	// site that burns all processors.
	siteNice = 2
)

// Adopt returns the process with this pid if it is the one that was
// marked so, started by an agent that is no more. hold is called before anything
// waits for its end.
func Adopt(pid int, mark, id string, hold func(*Process)) (*Process, bool) {
	if pid <= 1 || mark == "" || !alive(pid, mark) {
		return nil, false
	}
	p := &Process{PID: pid, Mark: mark, ID: id, Done: make(chan struct{})}
	hold(p)
	go func() {
		defer close(p.Done)
		for alive(pid, mark) {
			time.Sleep(adoptedPoll)
		}
		p.Code = -1
		p.Status = "ended (started by an earlier agent, so its exit status is not known)" + p.overLimit()
		p.sweep()
		p.sweepRest()
	}()
	return p, true
}

// HasOneOf reports whether one of these processes is p or was started by it.
func (p *Process) HasOneOf(pids []int) bool {
	own := Instances(func(id, _ string) bool { return id == p.ID })
	return slices.ContainsFunc(pids, func(pid int) bool {
		return pid == p.PID || slices.Contains(own, pid) || sessionOf(pid) == p.PID
	})
}

// sweepRest kills what sweep has not seen and tells that all is gone.
func (p *Process) sweepRest() {
	if p.Group != nil {
		ctx, cancel := context.WithTimeout(context.Background(), SweepTime)
		defer cancel()
		_ = p.Group.End(ctx) // the next agent tries again
	}
	if p.After != nil {
		p.After()
	}
}

// Stop asks the process to end, and after grace, or when ctx ends, kills its
// whole group and whatever it left elsewhere. It returns when all is gone.
func (p *Process) Stop(ctx context.Context, grace time.Duration) {
	p.stopped.Do(func() { p.terminate() })
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.Done:
		return
	case <-t.C:
	case <-ctx.Done():
	}
	p.Kill()
	<-p.Done
}
