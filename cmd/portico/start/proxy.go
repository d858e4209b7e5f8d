package start

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/conf"
	"portico/internal/pause"
	"portico/proxy/frontdoor"
)

// NewProxy makes the command portico proxy.
func NewProxy(s *shell.Call) *cobra.Command {
	st := &settings{}
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Run the front door: sites, the admin listener, the catalog",
		Long: `Run the front door of a cluster. The first proxy makes the cluster. A further one
shares it with --join: the first time it knocks at a proxy and waits until
somebody accepts it there, or shows the code of an invitation made with
portico invite --role proxy. From then on it needs nobody to start. Three or
five proxies go on without any one of them; the second keeps a copy only.`,
		Args: cobra.NoArgs,
	}
	st.addTo(cmd)
	st.bind(cmd, "name", "proxy.name", "name of this member")
	st.bindList(cmd, "join", "proxy.join", "admin address of a proxy whose cluster this one is to share, host:port, may be repeated")
	st.bind(cmd, "fingerprint", "proxy.fingerprint", "of that cluster, as its proxies print it")
	st.bind(cmd, "code-file", "proxy.invite_file", "file with the code of an invitation")
	code := cmd.Flags().String("code", "", "code of an invitation (other users of this machine can see it: --code-file is safer)")
	st.bind(cmd, "http", "proxy.http", "address for plain HTTP")
	st.bind(cmd, "https", "proxy.https", "address for TLS")
	st.bind(cmd, "engine", "proxy.engine", "what moves HTTP: auto, loop or conn")
	st.bind(cmd, "admin", "admin.address", "address of the page, the API and the members")
	st.bind(cmd, "catalog", "catalog.address", "address of the catalog's replication")
	st.bind(cmd, "gossip", "gossip.address", "address of the gossip, TCP and UDP")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := st.load(s, cmd)
		if err != nil {
			return err
		}
		if *code, err = invitation(*code, c.Proxy.InviteFile); err != nil {
			return err
		}
		log, level := logger(c.Log, cmd)
		presses, unwatch := watchPresses()
		defer unwatch()
		p, err := frontdoor.New(cmd.Context(), frontdoor.Options{
			Conf: c, Code: *code, Version: s.Version, TakeOver: true, Logger: log, Level: level,
			Interrupts: presses, Notify: func(state string) { notify(log, state) },
		})
		if err != nil {
			return toldToStop(cmd.Context(), log, err)
		}
		log.Info("proxy is ready", "name", p.Name(), "http", p.Addr("http"), "https", p.Addr("https"),
			"admin", p.AdminAddr().String(), "version", s.Version)
		fmt.Fprint(cmd.OutOrStdout(), greeting(p, c.Dir))
		notify(log, daemon.SdNotifyReady)
		p.LeaveSockets()
		defer reloadOnHangup(cmd.Context(), p, log, func() (conf.Config, error) { return st.load(s, cmd) })()
		defer renewOnSignal(p, log)()
		return p.Run(cmd.Context())
	}
	return cmd
}

// toldToStop is the error of a start, unless the signal to stop has cut that short: who stops a service while it
// still starts has not found a fault in it.
func toldToStop(ctx context.Context, log *slog.Logger, err error) error {
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("told to stop before it was ready", "during", screen.Uncaused(err))
	return nil
}

// greeting tells an operator how to bring servers in.
func greeting(p *frontdoor.Proxy, dir string) string {
	self, fingerprint := p.Catalog().View().Members[p.Name()], p.Fingerprint()
	here := shell.Invocation("") + " --dir " + shell.FromHere(dir)
	return fmt.Sprintf(`cluster fingerprint  %s

On each application server:
  portico agent --join %s --fingerprint %s
On a further proxy:
  portico proxy --join %s --fingerprint %s
Here:
  %s members
  %s accept NAME
`, fingerprint, self.Addr, fingerprint, self.Addr, fingerprint, here, here)
}

// notify tells the service manager, if there is one.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Debug("service manager not told", "error", err)
	}
}

// reloadRest is how long a proxy rests at most after it has read a file of thousands of sites, before it reads it again.
const reloadRest = time.Second

// reloadOnHangup reads the configuration again at each SIGHUP; one that cannot be used changes
// nothing. Signals that come faster than a file can be taken in are one. The returned function ends that.
func reloadOnHangup(ctx context.Context, p *frontdoor.Proxy, log *slog.Logger, load func() (conf.Config, error)) (stop func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	stopped, cancel := context.WithCancel(context.WithoutCancel(ctx)) // a proxy that stops serves on for a while
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pace := pause.Spacing{Rest: reloadRest, Part: 10}
		for {
			select {
			case <-stopped.Done():
				return
			case <-hup:
			}
			if pace.Wait(stopped) != nil {
				return
			}
			began := time.Now()
			select {
			case <-hup: // one more came meanwhile
			default:
			}
			notify(log, daemon.SdNotifyReloading)
			c, err := load()
			if err == nil {
				err = p.Reload(ctx, c)
			}
			if err != nil {
				log.Error("configuration not reloaded: everything stays as it was", "error", err)
			}
			notify(log, daemon.SdNotifyReady)
			pace.Done(began)
		}
	}()
	return func() {
		signal.Stop(hup)
		cancel()
		<-ended
	}
}
