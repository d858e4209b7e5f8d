package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/support/written"
)

// Process is one running portico.
type Process struct {
	t    testing.TB
	name string
	args []string
	env  []string
	pre  []string // a command that runs it elsewhere: ip netns exec NAME

	program string // what it runs; empty: Binary

	files []*os.File // that it inherits, from descriptor 3 on

	cmd   *exec.Cmd
	asked *exec.Cmd // the one that got its signal to end; nil: none
	log   *written.Buffer
	done  chan struct{}
}

// Start starts the program with args and ends it with the test.
func Start(t testing.TB, name string, env []string, args ...string) *Process {
	t.Helper()
	return StartIn(t, nil, name, env, args...)
}

// StartIn is Start through the command pre, for instance "ip netns exec a".
func StartIn(t testing.TB, pre []string, name string, env []string, args ...string) *Process {
	t.Helper()
	return StartWith(t, nil, pre, name, env, args...)
}

// StartWith is StartIn with files that the process inherits, from descriptor 3 on.
func StartWith(t testing.TB, files []*os.File, pre []string, name string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: name, args: args, pre: pre, files: files, env: append(Env(t), env...), log: &written.Buffer{}}
	p.launch()
	t.Cleanup(func() {
		p.Stop()
		if dir := agentDir(p.args); dir != "" {
			killSites(dir)
		}
		if strings.Contains(p.Log(), "WARNING: DATA RACE") {
			t.Errorf("%s found a data race", name)
		}
		if t.Failed() {
			t.Logf("--- log of %s ---\n%s", name, p.log.Tail(120))
		}
	})
	return p
}

func (p *Process) launch() {
	p.t.Helper()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = p.log, p.log
	p.run(cmd)
}

func (p *Process) command() *exec.Cmd {
	program := p.program
	if program == "" {
		program = Binary(p.t)
	}
	argv := append(append(append([]string{}, p.pre...), program), p.args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.ExtraFiles = p.env, p.files
	return cmd
}

func (p *Process) run(cmd *exec.Cmd) {
	p.t.Helper()
	p.cmd, p.done = cmd, make(chan struct{})
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
}

// Upgrade makes the next start run the program in that file.
func (p *Process) Upgrade(program string) { p.program = program }

// Args returns the arguments that the next start has.
func (p *Process) Args() []string { return p.args }

// SetArgs replaces the arguments of the next start.
func (p *Process) SetArgs(args ...string) { p.args = args }

// SetEnv adds variables for the next start.
func (p *Process) SetEnv(env ...string) { p.env = append(slices.Clone(p.env), env...) }

// Log returns what the process has printed so far.
func (p *Process) Log() string { return p.log.String() }

// Pid returns the id of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits until the process has ended by itself and returns its exit code.
func (p *Process) Wait(limit time.Duration) int {
	p.t.Helper()
	if !p.ends(limit) {
		p.t.Fatalf("%s still runs after %v", p.name, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// ends reports whether the process ends within limit, see Patience.
func (p *Process) ends(limit time.Duration) bool {
	for began := time.Now(); !Over(time.Since(began), limit); {
		select {
		case <-p.done:
			return true
		case <-time.After(time.Second):
		}
	}
	return !p.Running()
}

// Kill ends the process as a power cut would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends sig.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %s: %v", p.name, err)
	}
}

// askToStop sends the process its signal to end, once.
func (p *Process) askToStop() {
	if p.Running() && p.asked != p.cmd {
		p.asked = p.cmd
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
}

// Stop asks the process to end, and kills it after twenty seconds.
func (p *Process) Stop() {
	if !p.Running() {
		return
	}
	p.askToStop()
	if !p.ends(20 * time.Second) {
		p.t.Errorf("%s did not end within 20s of SIGTERM", p.name)
		dump(p.cmd.Process)
		p.Kill()
	}
}

// dump makes the Go runtime print every goroutine, so that the log says what hung.
func dump(process *os.Process) {
	_ = process.Signal(syscall.SIGQUIT)
	<-time.After(500 * time.Millisecond)
}

// Restart starts the ended process again with the same arguments.
func (p *Process) Restart() {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("%s still runs", p.name)
	}
	p.launch()
}

// Successor starts the program once more with the same arguments and some more, while
// the process runs or is ending.
func (p *Process) Successor(more ...string) *Process {
	p.t.Helper()
	return StartIn(p.t, p.pre, p.name+" again", p.env, append(slices.Clone(p.args), more...)...)
}

// Proxy is a running portico proxy.
type Proxy struct {
	*Process
	Dir                string
	HTTP, HTTPS, Admin string
	In                 []string // a command that runs clients elsewhere; nil: here

	agents []*Agent
}

// StartProxy starts a proxy on free loopback ports and waits until it is ready.
func StartProxy(t testing.TB, args ...string) *Proxy {
	t.Helper()
	return StartProxyIn(t, TempDir(t), "proxy-1", args...)
}

// StartProxyIn is StartProxy with a state folder and a name of the caller's.
func StartProxyIn(t testing.TB, dir, name string, args ...string) *Proxy {
	t.Helper()
	p := &Proxy{Dir: dir, HTTP: Addr(t), HTTPS: Addr(t), Admin: Addr(t)}
	all := append([]string{
		"proxy", "--dir", p.Dir, "--name", name,
		"--http", p.HTTP, "--https", p.HTTPS, "--admin", p.Admin,
		"--catalog", Addr(t), "--gossip", Addr(t),
	}, args...)
	p.Process = Start(t, name, nil, all...)
	p.WaitReady()
	return p
}

// WaitReady waits until the proxy says that it is ready.
func (p *Proxy) WaitReady() {
	p.t.Helper()
	Eventually(p.t, time.Minute, func() error {
		if !p.Running() {
			p.t.Fatalf("the proxy ended:\n%s", p.log.Tail(40))
		}
		if r := p.CLI("members", "--json"); r.Code != 0 {
			return fmt.Errorf("portico members: %s", r.Stderr)
		}
		return nil
	})
}

// CLI runs a client command as the proxy's local administrator.
func (p *Proxy) CLI(args ...string) Result {
	p.t.Helper()
	return RunIn(p.t, p.In, []string{"PORTICO_DIR=" + p.Dir}, args...)
}

// Must is CLI for commands that have to succeed; it returns what they printed.
func (p *Proxy) Must(args ...string) string {
	p.t.Helper()
	r := p.CLI(args...)
	if r.Code != 0 {
		p.t.Fatalf("portico %s: exit %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Fingerprint returns what agents give as --fingerprint.
func (p *Proxy) Fingerprint() string {
	p.t.Helper()
	return p.ClientFile().Fingerprint
}

// Agent is a running portico agent.
type Agent struct {
	*Process
	Name, Dir, Addr string
}

// StartAgent starts an agent that knocks at the proxy; nobody has accepted it yet.
func (p *Proxy) StartAgent(name string, args ...string) *Agent {
	p.t.Helper()
	a := &Agent{Name: name, Dir: TempDir(p.t), Addr: Addr(p.t)}
	all := append([]string{
		"agent", "--dir", a.Dir, "--name", name, "--listen", a.Addr, "--gossip", Addr(p.t),
		"--join", p.Admin, "--fingerprint", p.Fingerprint(),
	}, args...)
	a.Process = Start(p.t, name, nil, all...)
	p.agents = append(p.agents, a)
	// Leaving takes an agent a moment, in which the others can leave as well.
	p.t.Cleanup(func() {
		for _, each := range p.agents {
			each.askToStop()
		}
	})
	return a
}

// AddServer starts an agent with an invitation and waits until it is accepted.
func (p *Proxy) AddServer(name string, args ...string) *Agent {
	p.t.Helper()
	code := strings.TrimSpace(p.Must("invite", "--quiet"))
	a := p.StartAgent(name, append([]string{"--code", code}, args...)...)
	p.WaitMember(name, "accepted")
	return a
}

// TempDir is like testing.TB.TempDir with a short path (unix sockets allow 108
// bytes) that other users may pass through, as site users must.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("remove %s: %v", filepath.Base(dir), err)
		}
	})
	return filepath.Join(dir, "d")
}

// KillWithSites ends the agent and the sites that it runs, as a power cut would.
func (a *Agent) KillWithSites() {
	a.t.Helper()
	pids := append(Descendants(a.Pid()), SiteProcesses(a.Dir)...)
	a.Kill()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
