package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"portico/conf"
)

func newProxy(s *shared) *cobra.Command {
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
		f, err := newFrontDoor(cmd.Context(), c, *code, log, (*frontDoor).succeed)
		if err != nil {
			return toldToStop(cmd.Context(), log, err)
		}
		f.level = level
		log.Info("proxy is ready", "name", f.conf.Proxy.Name, "http", f.addr("http"), "https", f.addr("https"),
			"admin", f.listener.Addr().String(), "version", buildVersion())
		fmt.Fprint(cmd.OutOrStdout(), f.greeting())
		notify(log, daemon.SdNotifyReady)
		f.store()
		stopReload := f.reloadOn(func() (*settings, *cobra.Command) { return st, cmd }, s)
		defer stopReload()
		defer f.renewOnSignal()()
		return f.run(cmd.Context())
	}
	return cmd
}

// toldToStop is the error of a start, unless the signal to stop has cut that short: who stops a service while it
// still starts has not found a fault in it.
func toldToStop(ctx context.Context, log *slog.Logger, err error) error {
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("told to stop before it was ready", "during", uncaused(err))
	return nil
}

// addr is where a frontend listens, "" where it does not.
func (f *frontDoor) addr(frontend string) string {
	if a := f.web.Addr(frontend); a != nil {
		return a.String()
	}
	return ""
}

// greeting tells an operator how to bring servers in.
func (f *frontDoor) greeting() string {
	self := f.catalog.View().Members[f.conf.Proxy.Name]
	here := invocation("") + " --dir " + fromHere(f.conf.Dir)
	return fmt.Sprintf(`cluster fingerprint  %s

On each application server:
  portico agent --join %s --fingerprint %s
On a further proxy:
  portico proxy --join %s --fingerprint %s
Here:
  %s members
  %s accept NAME
`, f.authority.Fingerprint(), self.Addr, f.authority.Fingerprint(), self.Addr, f.authority.Fingerprint(), here, here)
}

// notify tells the service manager, if there is one.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Debug("service manager not told", "error", err)
	}
}

// reloadOn reads the configuration again at each SIGHUP. The returned function
// ends that.
func (f *frontDoor) reloadOn(source func() (*settings, *cobra.Command), s *shared) (stop func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-hup:
				notify(f.log, daemon.SdNotifyReloading)
				st, cmd := source()
				f.reload(st, cmd, s)
				notify(f.log, daemon.SdNotifyReady)
			}
		}
	}()
	return func() {
		signal.Stop(hup)
		close(done)
		<-ended
	}
}

// reload takes over what can change while traffic runs; a bad file changes
// nothing.
func (f *frontDoor) reload(st *settings, cmd *cobra.Command, s *shared) {
	c, err := st.load(s, cmd)
	if err == nil {
		err = checkProxyFiles(c)
	}
	if err != nil {
		f.log.Error("configuration not reloaded: everything stays as it was", "error", err)
		return
	}
	for _, setting := range needRestart(f.loaded, c) {
		f.log.Warn("setting needs a restart to take effect", "setting", setting)
	}
	if f.level != nil {
		setLevel(f.level, c.Log)
	}
	if err := f.certs.SetFiles(certFiles(c.TLS)); err != nil {
		f.log.Error("certificate files not reloaded", "error", err)
	}
	if f.access != nil {
		if err := f.access.Reopen(); err != nil {
			f.log.Error("access log not reopened", "error", err)
		}
	}
	f.sites.Store(&c.Sites)
	f.web.SetStatic(c.Sites)
	if err := f.reserveHosts(cmd.Context()); err != nil {
		f.log.Warn("the hosts of the configuration file are not in the catalog yet: it is tried again", "error", err)
	}
	f.log.Info("configuration reloaded")
}

// needRestart names the settings that differ and are read only at the start.
func needRestart(old, now conf.Config) []string {
	var changed []string
	compare := func(name string, same bool) {
		if !same {
			changed = append(changed, name)
		}
	}
	compare("dir", old.Dir == now.Dir)
	compare("proxy", reflect.DeepEqual(old.Proxy, now.Proxy))
	compare("admin", reflect.DeepEqual(old.Admin, now.Admin))
	compare("catalog", reflect.DeepEqual(old.Catalog, now.Catalog))
	compare("gossip", old.Gossip == now.Gossip)
	compare("upload", old.Upload == now.Upload)
	compare("tls.acme", old.TLS.ACME == now.TLS.ACME && old.TLS.Email == now.TLS.Email && old.TLS.ACMERoot == now.TLS.ACMERoot)
	compare("tls.tickets", old.TLS.Tickets == now.TLS.Tickets)
	compare("log.format", old.Log.Format == now.Log.Format)
	compare("log.access", old.Log.Access == now.Log.Access && old.Log.AccessFormat == now.Log.AccessFormat)
	return changed
}
