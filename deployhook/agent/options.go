package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/listener"
	"portico/deployhook/agent/members"
	"portico/deployhook/agent/state"
	"portico/deployhook/agent/tomcat"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// Options say what an Agent needs. Dir, Name and Logger are required; with
// Listen also ServerTLS, with Proxies also ClientTLS.
type Options struct {
	Dir     string // state directory of this machine; sites/, objects/ and agent/ in it belong to the agent
	Name    string // this member's name
	Version string // of the program, for reports
	Logger  *slog.Logger

	// Lock is this process's hold on Dir; New takes it over, and Shutdown gives it back. Nil: New
	// takes the directory itself.
	Lock *state.Lock

	// Cluster is the id of the cluster that this member belongs to. A wanted
	// state of any other cluster is refused. Empty: the first one seen, which
	// is remembered in Dir.
	Cluster string

	Listen    string      // address of the mutual TLS listener, such as ":7444"; empty: none, nothing is served
	ServerTLS *tls.Config // must demand and verify client certificates

	// Identify names the peer of a finished handshake; an error closes the
	// connection. It is asked again for open connections after every change of
	// the wanted state, so that a revoked proxy is cut off at once. Instances
	// and logs are served to proxies only, objects to every member. Nil: who
	// passes ServerTLS counts as a proxy.
	Identify func(tls.ConnectionState) (role catalog.Role, name string, err error)

	// ClientTLS is the client's side of mutual TLS towards the member of that
	// role and name; an empty name means any accepted one. The agent sets the
	// server name where the protocol asks for one.
	ClientTLS func(role catalog.Role, name string) *tls.Config

	Proxies []messages.Peer // where to ask first; later the wanted state says where
	Nudge   <-chan int64    // revisions heard of by gossip; nil: none

	// SiteUser is the operating system account of all sites when the agent runs
	// as root. Empty: each site gets a user id of its own, which is
	// what keeps sites from reading one another's files. Without root every site
	// runs as the agent's own account.
	SiteUser string

	// AllowUsers are the accounts that a site's settings may name as its user.
	// root is refused even when it stands here.
	AllowUsers []string

	// HookUsers are the accounts that the application servers of hook sites run as:
	// only they and a site's own account may answer at hook.port. Empty: everybody
	// but the accounts of other sites.
	HookUsers []string

	Ports  account.Range  // loopback ports of run sites; zero: 20000 to 29999
	Tomcat tomcat.Options // zero: each site of kind tomcat has a Tomcat of its own, if one is installed

	// Runtimes returns what is installed here, for reports; see machine.Runtimes.
	// Serve calls it once, beside everything else: it may take its time. Nil: nothing is told.
	Runtimes func(context.Context) map[string]string

	// DiskReserve is what stays free on the file system of Dir, in bytes, and never more
	// than a tenth of it: the site that has grown most is stopped when less is left.
	// 0: no site is stopped for it.
	DiskReserve int64

	LogSize     int64         // bytes of log kept for one instance, twice: now and before; 0: 10 MiB
	HookTimeout time.Duration // of one install, activate, remove or before command; 0: 5 minutes

	stopWait time.Duration // longest silence of the proxies while an instance waits for their word that it is empty; 0: 10 s
}

// defaultPorts lie below the range from which Linux takes the ports of outgoing
// connections (32768 up), so that no such connection sits on a site's port.
var defaultPorts = account.Range{First: 20000, Count: 10000}

const (
	defaultLogSize     = 10 << 20
	defaultStopWait    = 10 * time.Second
	defaultHookTimeout = 5 * time.Minute
)

func (o Options) withDefaults() (Options, error) {
	var errs []error
	if o.Dir == "" || o.Name == "" || o.Logger == nil {
		errs = append(errs, errors.New("directory, name and logger are required"))
	}
	if o.Listen != "" && o.ServerTLS == nil {
		errs = append(errs, errors.New("a listener needs its TLS configuration"))
	}
	if len(o.Proxies) > 0 && o.ClientTLS == nil {
		errs = append(errs, errors.New("proxies need a client TLS configuration"))
	}
	if len(errs) > 0 {
		return o, fmt.Errorf("agent options: %w", errors.Join(errs...))
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, fmt.Errorf("agent options: %w", err)
	}
	// The resolved path is what processes are given: runtimes that cache by
	// path would not notice a link that moved.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	o.Dir = dir
	if o.Ports.Count <= 0 {
		o.Ports = defaultPorts
	}
	if o.LogSize <= 0 {
		o.LogSize = defaultLogSize
	}
	if o.stopWait <= 0 {
		o.stopWait = defaultStopWait
	}
	if o.HookTimeout <= 0 {
		o.HookTimeout = defaultHookTimeout
	}
	return o, nil
}

// members says how other members are reached.
func (o Options) members() members.Options {
	m := members.Options{Name: o.Name, Proxies: o.Proxies, Nudge: o.Nudge, Logger: o.Logger}
	if o.Identify != nil {
		m.Identify = func(cs tls.ConnectionState) error {
			_, _, err := o.Identify(cs)
			return err
		}
	}
	if o.ClientTLS != nil {
		m.ClientTLS = func(role catalog.Role, name string) *tls.Config {
			config := o.ClientTLS(role, name).Clone()
			if config != nil && role == catalog.RoleServer {
				config.ServerName = listener.ObjectsName
			}
			return config
		}
	}
	return m
}
