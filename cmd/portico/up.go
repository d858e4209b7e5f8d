package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"portico/conf"
	"portico/deployhook/agent/appserver"
	"portico/deployhook/archive"
	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/membership/catalog"
	"portico/proxy/admin"
	"portico/proxy/frontdoor"
)

// upDir is where up keeps its state unless told otherwise.
const upDir = "portico-data"

const (
	upServers = 2  // application servers at the first start
	upMost    = 16 // a newcomer's machine is not a cluster
	upAccount = "admin"
	demoName  = "demo"
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
			return exitcode.Misuse(fmt.Errorf("--servers %d: 1 to %d", *servers, upMost))
		}
		c, err := st.load(&shared{environ: append(upDefaults(), s.environ...), dir: s.dir}, cmd)
		if err != nil {
			return err
		}
		if c.Dir, err = upStateDir(c.Dir, s.environ, cmd.ErrOrStderr()); err != nil {
			return err
		}
		if !cmd.Flags().Changed("log-level") {
			c.Log.Level = "warn"
		}
		log, _ := logger(c.Log, cmd)
		u := &up{conf: c, log: log, out: cmd.OutOrStdout(), environ: s.environ}
		ctx, stop := endOnHangup(cmd.Context())
		defer stop()
		return u.start(ctx, *servers)
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
	program, remove, err := provideProgram(u.conf.Dir)
	if err != nil {
		return err
	}
	defer remove()
	u.command = invocation(program) // before the copy is found first
	bin := filepath.Dir(program)
	if err := os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return err
	}
	if u.conf.Gossip.Address, err = freeAddr(); err != nil {
		return err
	}
	u.line = newStatusLine(u.out)
	u.line.set("starting a proxy …")
	presses, unwatch := watchPresses()
	defer unwatch()
	if u.front, err = frontdoor.New(ctx, frontdoor.Options{Conf: u.conf, Version: buildVersion(), Logger: u.log, Interrupts: presses}); err != nil {
		u.line.done()
		return toldToStop(ctx, u.log, err)
	}
	return u.run(ctx, servers, started)
}

// run brings everything up and stops it in the opposite order: the servers say
// goodbye to a proxy that still listens.
func (u *up) run(ctx context.Context, servers int, started time.Time) error {
	var agents, fronts group
	err := fronts.start(ctx, u.front.Run)
	if err == nil {
		err = u.prepareWhile(ctx, servers, &agents, &fronts)
	}
	u.line.done()
	if err == nil {
		err = u.announce(time.Since(started), servers)
	}
	if err == nil {
		select {
		case <-ctx.Done():
			fmt.Fprintln(u.out, "\nstopping: the sites end with it")
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
	front   *frontdoor.Proxy
	conf    conf.Config
	log     *slog.Logger
	out     io.Writer
	environ []string
	line    *statusLine
	command string // how its shell calls this program
	state   upState
}

// prepareWhile prepares as long as the machine needs for it, unless a part ends meanwhile.
func (u *up) prepareWhile(ctx context.Context, servers int, agents, fronts *group) error {
	working, end := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case err := <-agents.failed():
			end(cmp.Or(err, errors.New("an application server has ended")))
		case err := <-fronts.failed():
			end(cmp.Or(err, errors.New("the proxy has ended")))
		case <-working.Done():
		}
	})
	err := u.prepare(working, servers, func(a *appserver.Agent) { _ = agents.start(ctx, a.Run) })
	if cause := context.Cause(working); err != nil && cause != nil && ctx.Err() == nil {
		err = cause // which the parts tell as well, when they are stopped
	}
	end(nil)
	watching.Wait()
	return err
}

// prepare brings in the application servers and, at the first start, installs
// the demonstration site. Everything goes the way it goes in a real cluster.
func (u *up) prepare(ctx context.Context, servers int, run func(*appserver.Agent)) error {
	if err := u.load(); err != nil {
		return err
	}
	if err := setPassword(ctx, u.front.Catalog(), upAccount, u.state.Password); err != nil {
		return err
	}
	u.line.set("the proxy runs; %s …", ends(servers, "application server joins", "application servers join"))
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
	if err := u.waitServers(ctx, servers); err != nil {
		return err
	}
	if !u.state.Demo {
		u.line.set("the servers are in; installing the demonstration site …")
		if err := u.installDemo(ctx); err != nil {
			return err
		}
		u.state.Demo = true
		return u.save()
	}
	u.line.set("the servers are in; the demonstration site starts …")
	return u.waitDemo(ctx)
}

// setPassword makes an administrator's account with that password.
func setPassword(ctx context.Context, c *catalog.Catalog, name, secret string) error {
	hash, err := admin.HashPassword(secret)
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = c.Update(ctx, func(tx *catalog.Tx) error {
		_, err := catalog.ChangeAccount(tx, name, func(a *catalog.Account) error {
			a.Password, a.Role = hash, catalog.RoleAdmin
			return nil
		})
		if errors.Is(err, catalog.ErrNotFound) {
			return catalog.CreateAccount(tx, catalog.Account{Name: name, Role: catalog.RoleAdmin, Password: hash}, now)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make account %s: %w", name, err)
	}
	return nil
}

// ends is a number and what it counts, with its verb.
func ends(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
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
	return statedir.WriteWhole(u.file(), func(w io.Writer) error { return json.NewEncoder(w).Encode(u.state) })
}

// server starts an application server, which joins by invitation the first time.
func (u *up) server(ctx context.Context, name string) (*appserver.Agent, error) {
	c := u.conf
	c.Dir = filepath.Join(u.conf.Dir, name)
	c.Agent.Name, c.Agent.Advertise = name, ""
	c.Agent.Join, c.Agent.Fingerprint = []string{u.front.AdminAddr().String()}, u.front.Fingerprint()
	var err error
	if c.Gossip.Address, err = freeAddr(); err != nil {
		return nil, err
	}
	if c.Agent.Address, err = freeAddr(); err != nil {
		return nil, err
	}
	code := ""
	if u.front.Catalog().View().Members[name] == nil {
		invited, err := u.front.Invite(ctx, catalog.RoleServer, time.Minute, "portico up")
		if err != nil {
			return nil, err
		}
		code = invited.Code
	}
	return appserver.New(appserver.Options{Conf: c, Code: code, Version: buildVersion(), Logger: u.log.With("member", name)})
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
	return u.wait(ctx, func(v *catalog.View) string {
		accepted := 0
		for _, m := range v.Members {
			if m.Role == catalog.RoleServer && m.Admission == catalog.Accepted {
				accepted++
			}
		}
		if accepted >= n {
			return ""
		}
		return fmt.Sprintf("%d of %s have joined", accepted, plural(n, "application server"))
	})
}

// waitDemo waits until an instance of the demonstration site answers again; a
// newcomer may have removed it.
func (u *up) waitDemo(ctx context.Context) error {
	return u.wait(ctx, func(v *catalog.View) string {
		if v.Sites[demoName] == nil {
			return ""
		}
		why := "the demonstration site has no instance yet"
		for _, i := range v.Instances {
			if i.Site == demoName && u.front.InRotation(i.ID) {
				return ""
			} else if i.Site == demoName {
				why = fmt.Sprintf("the demonstration site on %s is %s %s", i.Member, i.State, i.Detail)
			}
		}
		return strings.TrimSpace(why)
	})
}

// slowly is after how long a wait says what it is waiting for, and again so long afterwards.
const slowly = 10 * time.Second

// wait waits until missing finds nothing any more. That may take long on a small machine.
func (u *up) wait(ctx context.Context, missing func(*catalog.View) string) error {
	changed, cancel := u.front.Catalog().Subscribe()
	defer cancel()
	began, told := time.Now(), time.Now()
	for {
		what := missing(u.front.Catalog().View())
		if what == "" {
			return nil
		}
		if now := time.Now(); now.Sub(told) > slowly {
			told = now
			u.line.set("%s after %s; --log-level info tells more …", what, span(now.Sub(began)))
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond): // health is not in the catalog
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
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
	a, err := statedir.ReadAccess(filepath.Join(u.conf.Dir, statedir.ClientFile))
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
	steps := map[string]string{}
	if err := c.DeployEvents(ctx, answer.Deploy.ID, func(e catalog.Event) error {
		if e.Progress != nil {
			steps[e.Member] = e.Member + " is " + stepText(*e.Progress)
			text := "installing the demonstration site: " + strings.Join(slices.Sorted(maps.Values(steps)), ", ") + " …"
			u.line.note(text, text, time.Now())
		}
		return nil
	}); err != nil {
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

[deploy]
timeout = "30m" # as long as a small machine needs; what fails at once is told at once
`
