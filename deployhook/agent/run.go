package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"portico/membership/catalog"
)

const (
	defaultFiles     = 4096
	defaultProcesses = 512
)

// runSite is an instance of kind run: a process with a port.
type runSite struct {
	a    *Agent
	proc *process
	port int

	mu    sync.Mutex
	at    string // where it answered last; empty: 127.0.0.1
	owned bool   // the port was seen to be the process's own
	once  sync.Once
}

// startRun starts the site's process. The record is durable before the process
// runs, so that an agent that is killed in between finds it again.
func (u *unit) startRun(want catalog.WantedRelease, rel release, rec instanceRecord) (*instance, error) {
	a := u.a
	port, err := a.ports.take()
	if err != nil {
		return nil, err
	}
	rec.Port = port
	spec, log, err := u.processSpec(want, rel, rec)
	if err != nil {
		a.ports.release(port)
		return nil, err
	}
	defer log.Close()
	if err := a.state(func(s *stateFile) { s.Instances[rec.ID] = rec }); err != nil {
		a.ports.release(port)
		return nil, err
	}
	proc, err := startProcess(spec, rec.ID, a.shim)
	if err != nil {
		a.ports.release(port)
		a.forget(rec.ID)
		return nil, final(err)
	}
	rec.PID, rec.Mark = proc.pid, proc.mark
	return &instance{running: &runSite{a: a, proc: proc, port: port}, rec: rec}, nil
}

// processSpec says what to start. The caller closes the log.
func (u *unit) processSpec(want catalog.WantedRelease, rel release, rec instanceRecord) (processSpec, *os.File, error) {
	env := environment{
		member: u.a.o.Name,
		site:   u.key.site, release: u.key.release, releaseDir: rel.dir, instance: rec.ID,
		port: rec.Port, dirs: rel.dirs, user: rel.account.Name, settings: want.Settings,
	}
	vars := env.vars()
	if len(want.Settings.Run) == 0 {
		return processSpec{}, nil, final(errors.New("the site has no run command: set run in portico.toml"))
	}
	args := expand(want.Settings.Run, vars)
	path, err := resolve(args[0], rel.dir, vars["PATH"])
	if err != nil {
		return processSpec{}, nil, final(fmt.Errorf("run: %w", err))
	}
	log, err := u.a.openLog(rel.dirs, rec.ID, rel.account)
	if err != nil {
		return processSpec{}, nil, err
	}
	return processSpec{
		Path: path, Args: args, Dir: rel.dir, Env: list(vars), Account: rel.account, Log: log,
		Site: rel.dirs.root, Cover: rel.cover,
		Limits: limits(want.Settings.Limits),
	}, log, nil
}

func limits(l catalog.LimitSettings) processLimits {
	p := processLimits{Files: l.Files, Processes: l.Processes, Memory: l.Memory.Bytes()}
	if p.Files <= 0 {
		p.Files = defaultFiles
	}
	if p.Processes <= 0 {
		p.Processes = defaultProcesses
	}
	return p
}

// resolve finds the executable of a command: a name with a slash lies in the
// release (or is absolute), one without is looked for in PATH, then in the
// release.
func resolve(name, dir, path string) (string, error) {
	if name == "" {
		return "", errors.New("the command is empty")
	}
	if filepath.IsAbs(name) {
		return name, executable(name, name)
	}
	inRelease := filepath.Join(dir, filepath.FromSlash(name))
	if strings.ContainsAny(name, `/\`) {
		if !filepath.IsLocal(filepath.Clean(filepath.FromSlash(name))) {
			return "", fmt.Errorf("%q lies outside the release", name)
		}
		return withExtension(inRelease, name)
	}
	for d := range strings.SplitSeq(path, string(filepath.ListSeparator)) {
		if !filepath.IsAbs(d) {
			continue
		}
		if p, err := withExtension(filepath.Join(d, name), name); err == nil {
			return p, nil
		}
	}
	p, err := withExtension(inRelease, name)
	if err == nil {
		return p, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%q is neither installed on this machine nor in the release: install it, or write ./%s for a file of the release", name, name)
	}
	return "", err
}

// withExtension tries the extensions that Windows adds by itself.
func withExtension(path, name string) (string, error) {
	if runtime.GOOS != "windows" || filepath.Ext(path) != "" {
		return path, executable(path, name)
	}
	for _, ext := range []string{".exe", ".com", ".bat", ".cmd"} {
		if executable(path+ext, name) == nil {
			return path + ext, nil
		}
	}
	return path, executable(path, name)
}

func executable(path, name string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if fi.IsDir() {
		return fmt.Errorf("%q is a folder", name)
	}
	if runtime.GOOS != "windows" && fi.Mode()&0o111 == 0 {
		return fmt.Errorf("%q is not executable: set its mode before packing (chmod +x), or start it through its interpreter", name)
	}
	return nil
}

func (r *runSite) addr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at != "" {
		return r.at
	}
	return loopback(r.port)
}

func (r *runSite) handler() http.Handler  { return nil }
func (r *runSite) ended() <-chan struct{} { return r.proc.done }
func (r *runSite) stays() bool            { return false }
func (r *runSite) detach()                {}

func (r *runSite) outcome() string {
	select {
	case <-r.proc.done:
		return r.proc.status
	default:
		return ""
	}
}

func (r *runSite) stop(ctx context.Context, grace time.Duration) {
	r.proc.stop(ctx, grace)
	r.once.Do(func() { r.a.ports.release(r.port) })
}

// check asks the instance at 127.0.0.1, or at ::1 where the application took
// "localhost" for that. The first answer counts only if the port is the
// process's own.
func (r *runSite) check(ctx context.Context, c checker) catalog.Probe {
	probe := probeHTTP
	if c.tcp {
		probe = probeTCP
	}
	at := r.addr()
	p := probe(ctx, at, c)
	if p.Code == "L4CON" && ctx.Err() == nil {
		other := net.JoinHostPort("::1", strconv.Itoa(r.port))
		if at == other {
			other = loopback(r.port)
		}
		if q := probe(ctx, other, c); q.Code != "L4CON" {
			p, at = q, other
		}
	}
	if p.OK && !r.owns(&p) {
		return p
	}
	if p.OK {
		r.mu.Lock()
		r.at = at
		r.mu.Unlock()
	}
	return p
}

// owns makes sure, once, that the answer came from the instance and not from
// another program that took the port before it could.
func (r *runSite) owns(p *catalog.Probe) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owned {
		return true
	}
	foreign := portForeign(r.port, r.proc)
	if foreign != "" {
		p.OK, p.Code = false, "L7RSP"
		p.Error = fmt.Sprintf("port %d is answered by another process (%s): does the site use $PORT?", r.port, foreign)
		return false
	}
	r.owned = true
	return true
}

// command runs one of a site's commands that are no instances, as the site's
// account, its output going to the site's log.
func (u *unit) command(ctx context.Context, what string, argv []string, want catalog.WantedRelease, rel release, port int) error {
	env := environment{
		member: u.a.o.Name,
		site:   u.key.site, release: u.key.release, releaseDir: rel.dir, port: port,
		dirs: rel.dirs, user: rel.account.Name, settings: want.Settings,
	}
	vars := env.vars()
	args := expand(argv, vars)
	path, err := resolve(args[0], rel.dir, vars["PATH"])
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	id := catalog.NewInstanceID()
	vars["PORTICO_INSTANCE"] = id // so that nothing of it is left behind
	log, err := u.a.openLog(rel.dirs, commandLog, rel.account)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "--- %s %s: %s\n", time.Now().UTC().Format(time.RFC3339), what, strings.Join(argv, " "))
	from, _ := log.Seek(0, 2)
	proc, err := startProcess(processSpec{
		Path: path, Args: args, Dir: rel.dir, Env: list(vars), Account: rel.account, Log: log,
		Site: rel.dirs.root, Cover: rel.cover,
		Limits: limits(want.Settings.Limits),
	}, id, u.a.shim)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer proc.stop(u.a.force, 0)
	t := time.NewTimer(u.a.o.HookTimeout)
	defer t.Stop()
	select {
	case <-proc.done:
	case <-t.C:
		return fmt.Errorf("%s: %s has not ended within %v and was killed", what, argv[0], u.a.o.HookTimeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if proc.code == 0 {
		return nil
	}
	lines, _ := tailFrom(rel.dirs.log(commandLog), from, failureLines)
	u.set(func(r *catalog.InstanceReport) { r.Progress.Log = lines })
	return fmt.Errorf("%s: %s: %s: %s", what, argv[0], proc.status, strings.Join(lines[max(0, len(lines)-3):], " / "))
}

// commandLog is the log of a site's commands, beside those of its instances.
const commandLog = "commands"

// shimName is the hidden subcommand that Shim serves.
const shimName = "__run"

func defaultShim() []string {
	switch runtime.GOOS {
	case "windows":
		return nil
	case "linux":
		// Not the path: the file may have been replaced by a newer version, or
		// lie where the site's account may not go.
		return []string{"/proc/self/exe", shimName}
	}
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{exe, shimName}
}
