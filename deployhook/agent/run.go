package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/command"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/logs"
	"portico/deployhook/agent/ports"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

const (
	defaultFiles     = 4096
	defaultProcesses = 512
)

// runSite is an instance of kind run: a process with a port.
type runSite struct {
	a    *Agent
	proc *process.Process
	port int
	uid  int    // of the process
	base string // folder of this start alone, removed with it; empty: none

	mu    sync.Mutex
	at    string // where it answered last; empty: 127.0.0.1
	owned bool   // it has answered at its port
	taken string // who had its port before it could take it
	once  sync.Once

	explain sync.Once
	how     string // it ended; set by explain
}

// startRun starts the site's process. The record is durable before the process
// runs, so that an agent that is killed in between finds it again.
func (u *unit) startRun(want messages.WantedRelease, rel folders.Release, rec state.Instance) (*instance, error) {
	return u.startWith(want, rec, func(rec state.Instance) (process.Spec, *os.File, error) { return u.processSpec(want, rel, rec) })
}

// startWith is startRun of the process that build says.
func (u *unit) startWith(want messages.WantedRelease, rec state.Instance, build func(state.Instance) (process.Spec, *os.File, error)) (*instance, error) {
	a := u.a
	port, err := a.ports.Take()
	if err != nil {
		return nil, err
	}
	rec.Port = port
	spec, log, err := build(rec)
	if err != nil {
		a.ports.Release(port)
		return nil, err
	}
	defer log.Close()
	if err := a.state.Change(func(s *state.File) { s.Instances[rec.ID] = rec }); err != nil {
		a.ports.Release(port)
		return nil, err
	}
	a.contain(&spec, rec.ID, want.Settings.Limits)
	proc, err := process.Start(spec, rec.ID, a.shim)
	if err != nil {
		a.ports.Release(port)
		a.forget(rec.ID)
		return nil, final(err)
	}
	rec.PID, rec.Mark, rec.UID = proc.PID, proc.Mark, spec.Account.UID
	return &instance{running: &runSite{a: a, proc: proc, port: port, uid: rec.UID}, rec: rec}, nil
}

// Spec says what to start. The caller closes the log.
func (u *unit) processSpec(want messages.WantedRelease, rel folders.Release, rec state.Instance) (process.Spec, *os.File, error) {
	env := command.Environment{
		Member: u.a.o.Name,
		Site:   u.key.site, Release: u.key.release, ReleaseDir: rel.Dir, Instance: rec.ID,
		Port: rec.Port, Folders: rel.Site, User: rel.Account.Name, Settings: want.Settings,
	}
	vars := env.Vars()
	if len(want.Settings.Run) == 0 {
		return process.Spec{}, nil, final(errors.New("the site has no run command: set run in portico.toml"))
	}
	args := command.Expand(want.Settings.Run, vars)
	path, err := command.Resolve(args[0], rel, vars["PATH"], u.a.root)
	if err != nil {
		return process.Spec{}, nil, final(fmt.Errorf("run: %w", err))
	}
	log, err := u.a.logs.Open(rel.Site, rec.ID, rec.Release, rel.Account)
	if err != nil {
		return process.Spec{}, nil, err
	}
	return process.Spec{
		Path: path, Args: args, Dir: rel.Dir, Env: command.List(vars), Account: rel.Account, Log: log,
		Site: rel.Site.Root, Cover: rel.Cover,
		Limits: limits(want.Settings.Limits),
	}, log, nil
}

func limits(l sites.Limits) process.Limits {
	p := process.Limits{Files: l.Files, Processes: l.Processes, Memory: l.Memory.Bytes()}
	if p.Files <= 0 {
		p.Files = defaultFiles
	}
	if p.Processes <= 0 {
		p.Processes = defaultProcesses
	}
	return p
}

func (r *runSite) Addr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at != "" {
		return r.at
	}
	return ports.Loopback(r.port)
}

func (r *runSite) Handler() http.Handler  { return nil }
func (r *runSite) ended() <-chan struct{} { return r.proc.Done }
func (r *runSite) stays() bool            { return false }
func (r *runSite) detach()                {}

func (r *runSite) Allows() allowed { return r.a.onlyUser(r.uid) }

func (r *runSite) outcome() string {
	select {
	case <-r.proc.Done:
	default:
		return ""
	}
	r.explain.Do(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if h, ok := listensAt(r.port); ok && h.UID != r.uid && !r.owned && r.taken == "" {
			r.taken = r.a.holder(h)
		}
		r.how = r.proc.Status
		if r.taken != "" {
			r.how += fmt.Sprintf(": its port %d was taken by another process (%s)", r.port, r.taken)
		}
	})
	return r.how
}

func (r *runSite) stop(ctx context.Context, grace time.Duration) {
	r.proc.Stop(ctx, grace)
	r.once.Do(func() {
		r.a.ports.Release(r.port)
		if r.base != "" {
			if err := folders.Remove(filepath.Dir(r.base), filepath.Base(r.base)); err != nil {
				r.a.log.Warn("folder of an instance not removed", "folder", r.base, "error", err)
			}
		}
	})
}

// check asks the instance at 127.0.0.1, or at ::1 where the application took
// "localhost" for that. Only the site's own user counts as the instance.
func (r *runSite) check(ctx context.Context, c health.Check) catalog.Probe {
	d := r.a.dialer(r.Allows())
	at := r.Addr()
	p := c.Probe(ctx, d, at)
	if p.Code == "L4CON" && ctx.Err() == nil {
		other := net.JoinHostPort("::1", strconv.Itoa(r.port))
		if at == other {
			other = ports.Loopback(r.port)
		}
		if q := c.Probe(ctx, d, other); q.Code != "L4CON" {
			p, at = q, other
		}
	}
	switch {
	case p.OK && !r.owns(&p):
	case p.OK:
		r.mu.Lock()
		r.at = at
		r.mu.Unlock()
	case p.Code == "L4CON" && ctx.Err() == nil:
		r.checkTaken(&p)
	}
	return p
}

// owns makes sure, once, that the answer came from the instance and not from
// another program of the same account that took the port before it could.
func (r *runSite) owns(p *catalog.Probe) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owned {
		return true
	}
	if h, other := foreignProcess(r.port, r.proc); other {
		r.lose(p, r.a.holder(h))
		return false
	}
	r.owned = true
	return true
}

// checkTaken looks whether somebody else has the port at which nobody answers
// for the instance.
func (r *runSite) checkTaken(p *catalog.Probe) {
	h, ok := listensAt(r.port)
	if !ok || h.UID == r.uid {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose(p, r.a.holder(h))
}

// lose reports that somebody else has the port; r.mu is held. A process that has
// never had its port is ended: it cannot get it any more, the next start has
// another one. One that had it is left alone, for the sessions that it holds.
func (r *runSite) lose(p *catalog.Probe, who string) {
	p.OK, p.Code = false, "L4CON"
	p.Error = fmt.Sprintf("port %d is held by another process (%s)", r.port, who)
	if r.owned || r.taken != "" {
		return
	}
	r.taken = who
	r.a.log.Warn("a site's port was taken by somebody else before it could take it: it is started with another one", "instance", r.proc.ID, "port", r.port, "holder", who)
	r.proc.Kill()
}

// command runs one of a site's commands that are no instances, as the site's
// account, its output going to the site's log.
func (u *unit) command(ctx context.Context, what string, argv []string, want messages.WantedRelease, rel folders.Release, port int) error {
	env := command.Environment{
		Member: u.a.o.Name,
		Site:   u.key.site, Release: u.key.release, ReleaseDir: rel.Dir, Port: port,
		Folders: rel.Site, User: rel.Account.Name, Settings: want.Settings,
	}
	vars := env.Vars()
	args := command.Expand(argv, vars)
	path, err := command.Resolve(args[0], rel, vars["PATH"], u.a.root)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	id := ids.NewInstance()
	vars["PORTICO_INSTANCE"] = id // so that nothing of it is left behind
	log, err := u.a.logs.Open(rel.Site, logs.Commands, "", rel.Account)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "--- %s %s: %s\n", time.Now().UTC().Format(time.RFC3339), what, strings.Join(argv, " "))
	from, _ := log.Seek(0, 2)
	spec := process.Spec{
		Path: path, Args: args, Dir: rel.Dir, Env: command.List(vars), Account: rel.Account, Log: log,
		Site: rel.Site.Root, Cover: rel.Cover,
		Limits: limits(want.Settings.Limits),
	}
	u.a.contain(&spec, id, want.Settings.Limits)
	proc, err := process.Start(spec, id, u.a.shim)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer proc.Stop(u.a.force, 0)
	if err := u.await(ctx, proc); err != nil {
		return fmt.Errorf("%s: %s %w", what, argv[0], err)
	}
	if proc.Code == 0 {
		return nil
	}
	lines, _ := logs.Tail(rel.Site.Logs(), logs.Commands, from, failureLines)
	u.set(func(r *messages.InstanceReport) { r.Progress.Log = lines })
	return fmt.Errorf("%s: %s: %s: %s", what, argv[0], proc.Status, strings.Join(lines[max(0, len(lines)-3):], " / "))
}

// await waits for the end of a command; with an error, it is to be killed.
func (u *unit) await(ctx context.Context, proc *process.Process) error {
	t := time.NewTimer(u.a.o.HookTimeout)
	defer t.Stop()
	held := time.NewTicker(time.Second)
	defer held.Stop()
	for {
		select {
		case <-proc.Done:
			return nil
		case <-t.C:
			return fmt.Errorf("has not ended within %v and was killed", u.a.o.HookTimeout)
		case <-held.C:
			if why := u.a.heldBack(u.key.site); why != "" {
				return fmt.Errorf("was killed: the site is %s", why)
			}
		case <-ctx.Done():
			return fmt.Errorf("was killed: %w", context.Cause(ctx))
		}
	}
}
