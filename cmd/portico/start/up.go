package start

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
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/conf"
	"portico/deployhook/agent/appserver"
	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/access"
	"portico/proxy/frontdoor"
)

const (
	upServers = 2  // application servers at the first start
	upMost    = 16 // a newcomer's machine is not a cluster
	upAccount = "admin"
	demoName  = "demo"
)

// NewUp makes the command portico up.
func NewUp(s *shell.Call) *cobra.Command {
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
		c, err := st.load(&shell.Call{Version: s.Version, Environ: append(upDefaults(), s.Environ...), Dir: s.Dir}, cmd)
		if err != nil {
			return err
		}
		if c.Dir, err = upStateDir(c.Dir, s.Environ, cmd.ErrOrStderr()); err != nil {
			return err
		}
		if !cmd.Flags().Changed("log-level") {
			c.Log.Level = "warn"
		}
		log, _ := logger(c.Log, cmd)
		u := &up{conf: c, log: log, out: cmd.OutOrStdout(), environ: s.Environ, version: s.Version}
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
		"PORTICO_DIR=" + shell.UpDir, "PORTICO_PROXY_NAME=proxy", "PORTICO_PROXY_HTTP=127.0.0.1:8080", "PORTICO_PROXY_HTTPS=",
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
	u.command = shell.Invocation(program) // before the copy is found first
	bin := filepath.Dir(program)
	if err := os.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return err
	}
	if u.conf.Gossip.Address, err = freeAddr(); err != nil {
		return err
	}
	u.line = screen.NewStatusLine(u.out)
	u.line.Set("starting a proxy …")
	presses, unwatch := watchPresses()
	defer unwatch()
	if u.front, err = frontdoor.New(ctx, frontdoor.Options{Conf: u.conf, Version: u.version, Logger: u.log, Interrupts: presses}); err != nil {
		u.line.Done()
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
	u.line.Done()
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
	version string
	environ []string
	line    *screen.StatusLine
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
	u.line.Set("the proxy runs; %s …", ends(servers, "application server joins", "application servers join"))
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
		u.line.Set("the servers are in; installing the demonstration site …")
		if err := u.installDemo(ctx); err != nil {
			return err
		}
		u.state.Demo = true
		return u.save()
	}
	u.line.Set("the servers are in; the demonstration site starts …")
	return u.waitDemo(ctx)
}

// setPassword makes an administrator's account with that password.
func setPassword(ctx context.Context, c *catalog.Catalog, name, secret string) error {
	hash, err := access.HashPassword(secret)
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = c.Update(ctx, func(tx *catalog.Tx) error {
		_, err := command.ChangeAccount(tx, name, func(a *catalog.Account) error {
			a.Password, a.Role = hash, catalog.RoleAdmin
			return nil
		})
		if errors.Is(err, catalog.ErrNotFound) {
			return command.CreateAccount(tx, catalog.Account{Name: name, Role: catalog.RoleAdmin, Password: hash}, now)
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
	return appserver.New(appserver.Options{Conf: c, Code: code, Version: u.version, Logger: u.log.With("member", name)})
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
