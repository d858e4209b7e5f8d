package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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

	ctx     context.Context
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
	if dir := filepath.Join(c.Dir, "agent"); exists(dir) { // an agent that is told to end leaves its sites running
		stop := exec.Command(c.Program, "agent", "stop", "--sites", "--dir", dir)
		if out, err := stop.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "end the sites in %s: %v\n%s", dir, err, out)
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

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Start brings up the proxies and an agent.
func (c *Cluster) Start(proxies int) error {
	var first clientFile
	for i := range proxies {
		name := fmt.Sprintf("proxy-%d", i+1)
		dir := filepath.Join(c.Dir, name)
		args := []string{"proxy", "--dir", dir, "--name", name, "--http", Free(), "--https", Free(), "--admin", Free(), "--catalog", Free(), "--gossip", Free()}
		if i > 0 {
			code, err := c.Command("invite", "--quiet", "--role", "proxy")
			if err != nil {
				return err
			}
			args = append(args, "--join", first.Addr, "--fingerprint", first.Fingerprint, "--code", code)
		}
		if err := c.Launch(name, args...); err != nil {
			return err
		}
		if err := c.await(name, func() error { return first.read(filepath.Join(dir, "client.json"), i == 0) }); err != nil {
			return err
		}
		if err := c.await(name, func() error { return c.counts(i + 1) }); err != nil {
			return err
		}
	}
	code, err := c.Command("invite", "--quiet")
	if err != nil {
		return err
	}
	err = c.Launch("agent", "agent", "--dir", filepath.Join(c.Dir, "agent"), "--name", "agent", "--listen", Free(), "--gossip", Free(),
		"--join", first.Addr, "--fingerprint", first.Fingerprint, "--code", code)
	if err != nil {
		return err
	}
	if err := c.await("agent", func() error { return c.counts(proxies + 1) }); err != nil {
		return err
	}
	return nil
}

// clientFile is what a proxy keeps for local commands.
type clientFile struct{ Addr, Fingerprint string }

// read waits for the file; what it says is kept where it is wanted.
func (f *clientFile) read(name string, wanted bool) error {
	b, err := os.ReadFile(name)
	if err != nil || !wanted {
		return err
	}
	return json.Unmarshal(b, f)
}

// Launch starts a member that is not waited for.
func (c *Cluster) Launch(name string, args ...string) error {
	path := filepath.Join(c.Dir, name+".log")
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.Program, args...)
	cmd.Env = append(os.Environ(), "PORTICO_TLS_ACME=")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	m := &Member{Name: name, Log: path, cmd: cmd}
	c.started, c.Members = append(c.started, m), append(c.Members, m)
	return nil
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
