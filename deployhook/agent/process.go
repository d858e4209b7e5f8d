package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/cgroup"
)

// processSpec is one process to start.
type processSpec struct {
	Path    string   // resolved executable
	Args    []string // with the name at index 0
	Dir     string   // working directory, resolved
	Env     []string // whole environment
	Account account.Account
	Site    string // the site's folder
	Cover   string // see shimSpec; empty: none is needed
	Limits  processLimits
	Group   *cgroup.Group // to run in; nil: none
	Refused func(error)   // called when it was started without Group, which the system refuses
	After   func()        // called when all is gone; nil: nothing
	Log     *os.File      // standard output and error; the process keeps it when the agent dies
}

// processLimits bound one process; zero fields do not.
type processLimits struct {
	Files, Processes int
	Memory           int64
}

// process is a running process and its group: one that this agent started, or
// one that it adopted.
type process struct {
	pid     int
	mark    string
	id      string        // instance, as in the process's environment
	done    chan struct{} // closed when it has ended and its group with it
	status  string        // how it ended; set before done is closed
	code    int           // exit status; -1: killed, or not known
	started time.Time
	sys     processSystem
	stopped sync.Once
	group   *cgroup.Group // it runs in; nil: none
	after   func()        // called when all is gone; nil: nothing
}

// adoptedPoll is how often an adopted process is looked at: it is not a child,
// so nothing tells when it ends.
const adoptedPoll = 200 * time.Millisecond

// startProcess starts s in a session of its own. The caller must receive from
// done, or call stop, before it forgets the process.
func startProcess(s processSpec, id string, shim []string) (*process, error) {
	p := &process{id: id, done: make(chan struct{}), started: time.Now(), group: s.Group, after: s.After}
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
	p.pid = cmd.Process.Pid
	p.mark, _ = processMark(p.pid)
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
		p.status, p.code = cmd.ProcessState.String(), cmd.ProcessState.ExitCode()
		p.status += p.overLimit()
		p.sweep()
		p.sweepRest()
	}()
	return p, nil
}

// launch starts s's process with a command of its own: one that has failed to
// start cannot be started again.
func (p *process) launch(s processSpec, shim []string) (*exec.Cmd, error) {
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
func (p *process) overLimit() string {
	if p.group == nil {
		return ""
	}
	return p.group.OverLimit()
}

func (s processSpec) command(shim []string) (*exec.Cmd, error) {
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

// adoptProcess returns the process with this pid if it is the one that was
// marked so, started by an agent that is no more. hold is called before anything
// waits for its end.
func adoptProcess(pid int, mark, id string, started time.Time, hold func(*process)) (*process, bool) {
	if pid <= 1 || mark == "" || !processAlive(pid, mark) {
		return nil, false
	}
	p := &process{pid: pid, mark: mark, id: id, done: make(chan struct{}), started: started}
	hold(p)
	go func() {
		defer close(p.done)
		for processAlive(pid, mark) {
			time.Sleep(adoptedPoll)
		}
		p.code = -1
		p.status = "ended (started by an earlier agent, so its exit status is not known)" + p.overLimit()
		p.sweep()
		p.sweepRest()
	}()
	return p, true
}

// sweepRest kills what sweep has not seen and tells that all is gone.
func (p *process) sweepRest() {
	if p.group != nil {
		ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
		defer cancel()
		_ = p.group.End(ctx) // the next agent tries again
	}
	if p.after != nil {
		p.after()
	}
}

// stop asks the process to end, and after grace, or when ctx ends, kills its
// whole group and whatever it left elsewhere. It returns when all is gone.
func (p *process) stop(ctx context.Context, grace time.Duration) {
	p.stopped.Do(func() { p.terminate() })
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return
	case <-t.C:
	case <-ctx.Done():
	}
	p.kill()
	<-p.done
}
