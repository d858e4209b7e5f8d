package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/conf"
	"portico/deployhook/archive"
	"portico/membership/catalog"
	"portico/proxy/admin"
)

// upDir is where up keeps its state unless told otherwise.
const upDir = "portico-data"

const (
	upServers  = 2  // application servers at the first start
	upMost     = 16 // a newcomer's machine is not a cluster
	upAccount  = "admin"
	demoName   = "demo"
	upDeadline = 30 * time.Second // for servers and demonstration site to be there
)

func newUp(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Try it: a proxy, two application servers and a site, in one process on loopback",
		Args:  cobra.NoArgs,
	}
	st := &settings{}
	st.addTo(cmd)
	st.bind(cmd, "http", "proxy.http", "address of the sites, default 127.0.0.1:8080")
	st.bind(cmd, "admin", "admin.address", "address of the page and the API, default 127.0.0.1:7443")
	servers := cmd.Flags().Int("servers", upServers, "application servers, 1 to 16")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *servers < 1 || *servers > upMost {
			return usageError{fmt.Errorf("--servers %d: 1 to %d", *servers, upMost)}
		}
		c, err := st.load(&shared{environ: append(upDefaults(), s.environ...), dir: s.dir}, cmd)
		if err != nil {
			return err
		}
		if c.Dir, err = filepath.Abs(c.Dir); err != nil {
			return fmt.Errorf("find the state folder: %w", err)
		}
		if !cmd.Flags().Changed("log-level") {
			c.Log.Level = "warn"
		}
		log, _ := logger(c.Log, cmd)
		u := &up{conf: c, log: log, out: cmd.OutOrStdout(), environ: s.environ}
		return u.start(cmd.Context(), *servers)
	}
	return cmd
}

// upDefaults differ from the program's: loopback only, ports that need no
// right, no certificates from outside. As variables they stay below the
// caller's own settings and flags.
func upDefaults() []string {
	return []string{
		"PORTICO_DIR=" + upDir, "PORTICO_PROXY_NAME=proxy", "PORTICO_PROXY_HTTP=127.0.0.1:8080", "PORTICO_PROXY_HTTPS=",
		"PORTICO_ADMIN_ADDRESS=127.0.0.1:7443", "PORTICO_TLS_ACME=",
	}
}

// upState is what up remembers between two starts.
type upState struct {
	Password string `json:"password"`       // of upAccount
	Demo     bool   `json:"demo,omitempty"` // the demonstration site has been installed once
}

// start makes what the parts share and runs them until ctx ends.
func (u *up) start(ctx context.Context, servers int) error {
	started := time.Now()
	if err := makeStateDir(u.conf.Dir); err != nil {
		return err
	}
	program := filepath.Join(u.conf.Dir, "bin", programName())
	u.command = invocation(program) // before the copy is found first
	err := provideProgram(program)
	if err != nil {
		return err
	}
	if u.conf.Gossip.Address, err = freeAddr(); err != nil {
		return err
	}
	if u.front, err = newFrontDoor(ctx, u.conf, "", u.log, (*frontDoor).awaitFormer); err != nil {
		return err
	}
	return u.run(ctx, servers, started)
}

// run brings everything up and stops it in the opposite order: the servers say
// goodbye to a proxy that still listens.
func (u *up) run(ctx context.Context, servers int, started time.Time) error {
	var agents, fronts group
	err := fronts.start(ctx, u.front.run)
	if err == nil {
		err = u.prepare(ctx, servers, func(a *agentProcess) { _ = agents.start(ctx, a.run) })
	}
	if err == nil {
		err = u.announce(time.Since(started), servers)
	}
	if err == nil {
		select {
		case <-ctx.Done():
			fmt.Fprintln(u.out, "\nstopping")
		case err = <-agents.failed():
		case err = <-fronts.failed():
		}
	}
	err = errors.Join(err, agents.stop(), fronts.stop())
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// up is a cluster in one process.
type up struct {
	front   *frontDoor
	conf    conf.Config
	log     *slog.Logger
	out     io.Writer
	environ []string
	command string // how its shell calls this program
	state   upState
}

// prepare brings in the application servers and, at the first start, installs
// the demonstration site. Everything goes the way it goes in a real cluster.
func (u *up) prepare(ctx context.Context, servers int, run func(*agentProcess)) error {
	if err := u.load(); err != nil {
		return err
	}
	if err := setPassword(ctx, u.front.catalog, upAccount, u.state.Password); err != nil {
		return err
	}
	for n := 1; n <= servers; n++ {
		a, err := u.server(ctx, fmt.Sprintf("server-%d", n))
		if err != nil {
			return err
		}
		run(a)
	}
	if err := u.save(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, upDeadline)
	defer cancel()
	if err := u.waitServers(ctx, servers); err != nil {
		return err
	}
	if !u.state.Demo {
		if err := u.installDemo(ctx); err != nil {
			return err
		}
		u.state.Demo = true
		return u.save()
	}
	return u.waitDemo(ctx)
}

func (u *up) file() string { return filepath.Join(u.conf.Dir, "up.json") }

func (u *up) load() error {
	data, err := os.ReadFile(u.file())
	if errors.Is(err, fs.ErrNotExist) {
		u.state = upState{Password: strings.ToLower(rand.Text()[:14])}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state of up: %w", err)
	}
	if err := json.Unmarshal(data, &u.state); err != nil {
		return fmt.Errorf("read state of up: %s is damaged: %w: remove the folder %s to begin anew", u.file(), err, u.conf.Dir)
	}
	return nil
}

func (u *up) save() error {
	return writeWhole(u.file(), func(w io.Writer) error { return json.NewEncoder(w).Encode(u.state) })
}

// server starts an application server, which joins by invitation the first time.
func (u *up) server(ctx context.Context, name string) (*agentProcess, error) {
	c := u.conf
	c.Dir = filepath.Join(u.conf.Dir, name)
	c.Agent.Name, c.Agent.Advertise = name, ""
	c.Agent.Join, c.Agent.Fingerprint = []string{u.front.listener.Addr().String()}, u.front.authority.Fingerprint()
	var err error
	if c.Gossip.Address, err = freeAddr(); err != nil {
		return nil, err
	}
	if c.Agent.Address, err = freeAddr(); err != nil {
		return nil, err
	}
	code := ""
	if u.front.catalog.View().Members[name] == nil {
		invited, err := u.front.admission.Invite(ctx, catalog.RoleServer, time.Minute, "portico up")
		if err != nil {
			return nil, err
		}
		code = invited.Code
	}
	return newAgentProcess(c, code, u.log.With("member", name))
}

// freeAddr asks the system for a loopback port. Somebody could take it before
// it is bound; then the agent says so.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// waitServers waits until n application servers have been accepted.
func (u *up) waitServers(ctx context.Context, n int) error {
	return u.wait(ctx, "the application servers", func(v *catalog.View) bool {
		accepted := 0
		for _, m := range v.Members {
			if m.Role == catalog.RoleServer && m.Admission == catalog.Accepted {
				accepted++
			}
		}
		return accepted >= n
	})
}

// waitDemo waits until an instance of the demonstration site answers again; a
// newcomer may have removed it.
func (u *up) waitDemo(ctx context.Context) error {
	return u.wait(ctx, "the demonstration site", func(v *catalog.View) bool {
		if v.Sites[demoName] == nil {
			return true
		}
		for _, i := range v.Instances {
			if i.Site == demoName && u.front.web.InRotation(i.ID) {
				return true
			}
		}
		return false
	})
}

func (u *up) wait(ctx context.Context, what string, ready func(*catalog.View) bool) error {
	changed, cancel := u.front.catalog.Subscribe()
	defer cancel()
	for !ready(u.front.catalog.View()) {
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond): // health is not in the catalog
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: start again with --log-level info to see why", what, ctx.Err())
		}
	}
	return nil
}

// installDemo deploys the demonstration site through the API, as anybody would.
func (u *up) installDemo(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "portico-demo-")
	if err != nil {
		return fmt.Errorf("make the demonstration site: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.WriteFile(filepath.Join(dir, manifestName), []byte(demoManifest), 0o644); err != nil {
		return fmt.Errorf("make the demonstration site: %w", err)
	}
	a, err := readAccess(u.front.path(clientFile))
	if err != nil {
		return err
	}
	c, err := newClient(a)
	if err != nil {
		return err
	}
	defer c.Close()
	folder, err := archive.OpenFolder(dir, nil, archive.Limits{})
	if err != nil {
		return fmt.Errorf("make the demonstration site: %w", err)
	}
	answer, err := c.Upload(ctx, admin.Upload{Site: demoName, Name: "demo.tar.zst", Size: -1,
		Open: func() (io.ReadCloser, error) { return packFolder(ctx, folder), nil }})
	if err != nil {
		return fmt.Errorf("install the demonstration site: %w", err)
	}
	if err := c.DeployEvents(ctx, answer.Deploy.ID, func(catalog.Event) error { return nil }); err != nil {
		return fmt.Errorf("install the demonstration site: %w", err)
	}
	d, err := c.Deploy(ctx, answer.Deploy.ID)
	if err != nil {
		return fmt.Errorf("install the demonstration site: %w", err)
	}
	return deployOutcome(io.Discard, d, 0, true)
}

const demoManifest = `# The demonstration site: the program itself, counting visits in memory.
run = ["portico", "demo-site"]

[health]
path = "/healthz"
status = "200"
interval = "500ms"
rise = 1
`

// provideProgram puts a copy of this program where site processes of any
// account can run it, and in front of PATH: "go run" keeps the program in a
// folder of its own user and removes it at the end.
func provideProgram(target string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	bin := filepath.Dir(target)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("provide this program: %w", err)
	}
	if err := copyProgram(self, target); err != nil {
		return fmt.Errorf("provide this program: %w", err)
	}
	return os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// programName is what the program's file is called.
func programName() string {
	if runtime.GOOS == "windows" {
		return "portico.exe"
	}
	return "portico"
}

func copyProgram(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	temp := to + ".new"
	dst, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if closeErr := dst.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(temp, to)
}
