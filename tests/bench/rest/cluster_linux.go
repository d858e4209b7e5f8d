package main

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

// cluster is what is measured: its members' processes, in a folder that goes away with it.
type cluster struct {
	ctx     context.Context
	label   string // before the names of its members
	dir     string
	program string
	members []*member
	started []*exec.Cmd
}

// member is one process of portico.
type member struct {
	name string
	log  string // the file that it writes to
	cmd  *exec.Cmd
}

func newCluster(ctx context.Context, program string) (*cluster, error) {
	dir, err := os.MkdirTemp("", "rest")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // sites have users of their own
		return nil, err
	}
	c := &cluster{ctx: ctx, dir: dir, program: program}
	if program != "" {
		return c, nil
	}
	c.program = filepath.Join(dir, "portico")
	build := exec.CommandContext(ctx, "go", "build", "-o", c.program, "portico/cmd/portico")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as releases are built
	if out, err := build.CombinedOutput(); err != nil {
		c.close()
		return nil, fmt.Errorf("build portico: %w\n%s", err, out)
	}
	return c, nil
}

// close ends what was started, the last first, and the sites with it.
func (c *cluster) close() {
	if dir := filepath.Join(c.dir, "agent"); exists(dir) { // an agent that is told to end leaves its sites running
		stop := exec.Command(c.program, "agent", "stop", "--sites", "--dir", dir)
		if out, err := stop.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "end the sites in %s: %v\n%s", dir, err, out)
		}
	}
	for i := len(c.started) - 1; i >= 0; i-- {
		cmd := c.started[i]
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
	}
	_ = os.RemoveAll(c.dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// start brings up the proxies, the agent and the sites.
func (c *cluster) start(proxies, sites int) error {
	var first clientFile
	for i := range proxies {
		name := fmt.Sprintf("proxy-%d", i+1)
		dir := filepath.Join(c.dir, name)
		args := []string{"proxy", "--dir", dir, "--name", name, "--http", free(), "--https", free(), "--admin", free(), "--catalog", free(), "--gossip", free()}
		if i > 0 {
			code, err := c.command("invite", "--quiet", "--role", "proxy")
			if err != nil {
				return err
			}
			args = append(args, "--join", first.Addr, "--fingerprint", first.Fingerprint, "--code", code)
		}
		if err := c.launch(name, args...); err != nil {
			return err
		}
		if err := c.await(name, func() error { return first.read(filepath.Join(dir, "client.json"), i == 0) }); err != nil {
			return err
		}
		if err := c.await(name, func() error { return c.counts(i + 1) }); err != nil {
			return err
		}
	}
	code, err := c.command("invite", "--quiet")
	if err != nil {
		return err
	}
	err = c.launch("agent", "agent", "--dir", filepath.Join(c.dir, "agent"), "--name", "agent", "--listen", free(), "--gossip", free(),
		"--join", first.Addr, "--fingerprint", first.Fingerprint, "--code", code)
	if err != nil {
		return err
	}
	if err := c.await("agent", func() error { return c.counts(proxies + 1) }); err != nil {
		return err
	}
	for i := range sites {
		if err := c.deploy(i); err != nil {
			return err
		}
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

func (c *cluster) launch(name string, args ...string) error {
	path := filepath.Join(c.dir, name+".log")
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.program, args...)
	cmd.Env = append(os.Environ(), "PORTICO_TLS_ACME=")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.started = append(c.started, cmd)
	c.members = append(c.members, &member{name: name, log: path, cmd: cmd})
	return nil
}

// deploy installs one site: every second one is a process, the others are files.
func (c *cluster) deploy(i int) error {
	name := fmt.Sprintf("site-%d", i+1)
	dir := filepath.Join(c.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	write := writeFiles
	if i%2 == 0 {
		write = writeProgram
	}
	if err := write(dir); err != nil {
		return err
	}
	_, err := c.command("deploy", name, dir, "--host", name+".test")
	return err
}

func writeFiles(dir string) error {
	return os.WriteFile(filepath.Join(dir, "index.html"), []byte("at rest\n"), 0o600)
}

// writeProgram makes a site of which this program is the process.
func writeProgram(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "page"), program, 0o700); err != nil { // it is run
		return err
	}
	return os.WriteFile(filepath.Join(dir, "portico.toml"), fmt.Appendf(nil, "run = [%q, %q]\n", "./page", siteRole), 0o600)
}

// command runs a client command as the first proxy's administrator.
func (c *cluster) command(args ...string) (string, error) {
	cmd := exec.CommandContext(c.ctx, c.program, args...)
	cmd.Env = append(os.Environ(), "PORTICO_DIR="+filepath.Join(c.dir, "proxy-1"))
	said := &strings.Builder{}
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("portico %s: %w\n%s%s", strings.Join(args, " "), err, out, said)
	}
	return strings.TrimSpace(string(out)), nil
}

// counts reports whether so many members are accepted.
func (c *cluster) counts(want int) error {
	out, err := c.command("members", "--json")
	if err != nil {
		return err
	}
	if n := strings.Count(out, `"accepted"`); n < want {
		return fmt.Errorf("%d members are accepted, not %d", n, want)
	}
	return nil
}

// await tries something until it works, or the member's time is up.
func (c *cluster) await(name string, try func() error) error {
	for began := time.Now(); ; {
		err := try()
		if err == nil {
			return nil
		}
		if time.Since(began) > readyTime {
			log, _ := os.ReadFile(filepath.Join(c.dir, name+".log"))
			return fmt.Errorf("%s is not up: %w\n%s", name, err, log)
		}
		if err := pause.For(c.ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// free returns a loopback address that nobody listens at.
func free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}
