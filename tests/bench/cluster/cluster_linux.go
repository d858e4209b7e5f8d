package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"portico/internal/pause"
)

// readyTime bounds how long a member may take until it serves.
const readyTime = 2 * time.Minute

// Cluster is what is measured: its members' processes, in a folder that goes away with it.
type Cluster struct {
	Label   string // before the names of its members
	Dir     string
	Program string
	Members []*Member

	// Way, when not nil, returns the address that the others are told of a member: what it listens at, behind something that counts.
	Way func(member, addr string) (string, error)

	Env    []string // of the members, beside this process's
	Before []string // a command that runs the members, such as taskset -c 0

	ctx     context.Context
	join    string // where the first proxy is knocked at
	started []*Member
}

// Member is one process of portico.
type Member struct {
	Name string
	Log  string // the file that it writes to

	cmd *exec.Cmd
}

// Pid returns the id of the member's process.
func (m *Member) Pid() int { return m.cmd.Process.Pid }

// New makes the folder, and builds the program of this tree unless one is given.
func New(ctx context.Context, program string) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // sites have users of their own
		return nil, err
	}
	c := &Cluster{ctx: ctx, Dir: dir, Program: program}
	if program != "" {
		return c, nil
	}
	c.Program = filepath.Join(dir, "portico")
	build := exec.CommandContext(ctx, "go", "build", "-o", c.Program, "portico/cmd/portico")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as releases are built
	if out, err := build.CombinedOutput(); err != nil {
		c.Close()
		return nil, fmt.Errorf("build portico: %w\n%s", err, out)
	}
	return c, nil
}

// Close ends what was started, the last first, and the sites with it.
func (c *Cluster) Close() {
	agents, _ := filepath.Glob(filepath.Join(c.Dir, "agent*", "identity")) // an agent that is told to end leaves its sites running
	for _, dir := range agents {
		stop := exec.Command(c.Program, "agent", "stop", "--sites", "--dir", filepath.Dir(dir))
		if out, err := stop.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "end the sites in %s: %v\n%s", filepath.Dir(dir), err, out)
		}
	}
	for i := len(c.started) - 1; i >= 0; i-- {
		c.started[i].Stop()
	}
	_ = os.RemoveAll(c.Dir)
}

// Stop asks the member to end, kills it when it has not after 20 seconds, and returns when it is gone. More calls do nothing.
func (m *Member) Stop() {
	if m.cmd.ProcessState != nil {
		return
	}
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(20*time.Second, func() { _ = m.cmd.Process.Kill() })
	_ = m.cmd.Wait()
	late.Stop()
}

// Start brings up proxies and agents: proxy-1, proxy-2; agent, agent-2.
func (c *Cluster) Start(proxies, agents int) error {
	for i := range proxies {
		if err := c.startProxy(i); err != nil {
			return err
		}
	}
	for i := range agents {
		if err := c.startAgent(i); err != nil {
			return err
		}
		if err := c.await(agentName(i), func() error { return c.counts(proxies + i + 1) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) startProxy(i int) error {
	name := fmt.Sprintf("proxy-%d", i+1)
	admin := Free()
	way, err := c.way(name, admin)
	if err != nil {
		return err
	}
	args := []string{"proxy", "--dir", filepath.Join(c.Dir, name), "--name", name, "--http", Free(), "--https", Free(), "--admin", admin, "--catalog", Free(), "--gossip", Free()}
	if i > 0 {
		join, err := c.invitation("--role", "proxy")
		if err != nil {
			return err
		}
		args = append(args, join...)
	} else {
		c.join = way
	}
	if _, err := c.launch(name, append(slices.Clone(c.Env), "PORTICO_ADMIN_ADVERTISE="+way), args); err != nil {
		return err
	}
	return c.await(name, func() error { return c.counts(i + 1) })
}

func (c *Cluster) startAgent(i int) error {
	name, listen := agentName(i), Free()
	way, err := c.way(name, listen)
	if err != nil {
		return err
	}
	join, err := c.invitation()
	if err != nil {
		return err
	}
	args := append([]string{"agent", "--dir", filepath.Join(c.Dir, name), "--name", name, "--listen", listen, "--advertise", way, "--gossip", Free()}, join...)
	_, err = c.Launch(name, args...)
	return err
}

func agentName(i int) string {
	if i == 0 {
		return "agent"
	}
	return fmt.Sprintf("agent-%d", i+1)
}

// way is how others reach a member that listens there.
func (c *Cluster) way(name, addr string) (string, error) {
	if c.Way == nil {
		return addr, nil
	}
	return c.Way(name, addr)
}

// invitation is what a machine joins the cluster with.
func (c *Cluster) invitation(args ...string) ([]string, error) {
	code, err := c.Command(append([]string{"invite", "--quiet"}, args...)...)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(c.Dir, "proxy-1", "client.json"))
	if err != nil {
		return nil, err
	}
	var f struct{ Fingerprint string }
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	return []string{"--join", c.join, "--fingerprint", f.Fingerprint, "--code", code}, nil
}

// Launch starts a member and does not wait for it.
func (c *Cluster) Launch(name string, args ...string) (*Member, error) {
	return c.launch(name, c.Env, args)
}

func (c *Cluster) launch(name string, env, args []string) (*Member, error) {
	path := filepath.Join(c.Dir, name+".log")
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	argv := append(append(slices.Clone(c.Before), c.Program), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append(os.Environ(), "PORTICO_TLS_ACME="), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m := &Member{Name: name, Log: path, cmd: cmd}
	c.started, c.Members = append(c.started, m), append(c.Members, m)
	return m, nil
}

// Command runs a client command as the first proxy's administrator.
func (c *Cluster) Command(args ...string) (string, error) {
	cmd := exec.CommandContext(c.ctx, c.Program, args...)
	cmd.Env = append(os.Environ(), "PORTICO_DIR="+filepath.Join(c.Dir, "proxy-1"))
	said := &strings.Builder{}
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("portico %s: %w\n%s%s", strings.Join(args, " "), err, out, said)
	}
	return strings.TrimSpace(string(out)), nil
}

// counts reports whether so many members are accepted.
func (c *Cluster) counts(want int) error {
	out, err := c.Command("members", "--json")
	if err != nil {
		return err
	}
	if n := strings.Count(out, `"accepted"`); n < want {
		return fmt.Errorf("%d members are accepted, not %d", n, want)
	}
	return nil
}

// await tries something until it works, or the member's time is up.
func (c *Cluster) await(name string, try func() error) error {
	for began := time.Now(); ; {
		err := try()
		if err == nil {
			return nil
		}
		if time.Since(began) > readyTime {
			log, _ := os.ReadFile(filepath.Join(c.Dir, name+".log"))
			return fmt.Errorf("%s is not up: %w\n%s", name, err, log)
		}
		if err := pause.For(c.ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// Free returns a loopback address that nobody listens at.
func Free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}
