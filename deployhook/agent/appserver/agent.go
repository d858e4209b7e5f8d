// Package appserver runs an application server: it joins a cluster and serves as its member, until it is told to stop or sent away.
// It needs no process of its own: whoever has the options can run one.
package appserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"portico/certs"
	"portico/conf"
	"portico/deployhook/agent"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/state"
	"portico/deployhook/agent/tomcat"
	"portico/internal/exitcode"
	"portico/internal/preflight"
	"portico/internal/statedir"
	"portico/membership"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// stopLimit is how long a stopping agent waits for its sites; each has its own
// grace below that.
const stopLimit = 60 * time.Second

// Options are what an application server is started with.
type Options struct {
	Conf    conf.Config
	Code    string // of an invitation, "" without one
	Version string // of the program
	Logger  *slog.Logger

	Started   *Started    // what the command was given, written down for portico agent stop; nil: no command began this
	EndsSites func() bool // whether sites end with Run, asked when its context has ended; nil: they do
}

// Agent is a running application server. Between New and Run it holds nothing that would have to be closed.
type Agent struct {
	conf     conf.Config
	options  Options
	log      *slog.Logger
	identity *certs.Identity
	lock     *state.Lock // on the state folder, while it runs
	agent    atomic.Pointer[agent.Agent]
	seeds    atomic.Pointer[[]string] // gossip addresses that a proxy told
	found    atomic.Pointer[map[string]string]
	asking   sync.Mutex // held while runtimes asks
	gone     bool       // the cluster has sent this machine away
	brief    bool       // it only takes over what is left, and ends
}

// New opens the identity. Everything else waits for acceptance.
func New(o Options) (*Agent, error) {
	c := o.Conf
	if err := Preflight(c); err != nil {
		return nil, err
	}
	if err := statedir.Make(c.Dir); err != nil {
		return nil, err
	}
	id, err := certs.LoadIdentity(filepath.Join(c.Dir, "identity"))
	if err != nil {
		return nil, err
	}
	if c.Agent.Name, err = preflight.OwnName(id, catalog.RoleServer, c.Agent.Name, c.Dir); err != nil {
		return nil, exitcode.Misuse(err)
	}
	return &Agent{conf: c, options: o, log: o.Logger, identity: id}, nil
}

// Run joins the cluster and serves until ctx ends. A machine that the cluster sends away
// ends its sites and knocks again.
func (p *Agent) Run(ctx context.Context) error {
	if err := statedir.AwaitPredecessor(ctx, p.conf.Dir, p.log); err != nil {
		return err
	}
	lock, err := state.LockDir(p.conf.Dir)
	if err != nil {
		return err
	}
	p.lock = lock
	defer func() { _ = p.lock.Close() }()
	if !p.accepted() { // it would knock, perhaps for days, and find out then
		if err := preflight.TryAddresses(Addresses(p.conf), p.conf.Dir); err != nil {
			return err
		}
	}
	if err := p.rememberProxies(); err != nil {
		return err
	}
	if p.options.Started != nil {
		if err := p.options.Started.Remember(p.conf.Dir); err != nil {
			p.log.Warn("cannot write down how this agent was started: portico agent stop --sites needs its flags when no agent runs", "error", err)
		}
	}
	for knocks := !p.accepted(); ; knocks = true {
		if knocks {
			if err := p.join(ctx); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
		err := p.serve(ctx)
		if !sentAway(err) || ctx.Err() != nil {
			return err
		}
		p.log.Error("the cluster does not know this machine any more, it was revoked or removed: its sites have ended, and it asks to be let in again", "error", err)
		again, err := state.LockDir(p.conf.Dir)
		if err != nil {
			return err
		}
		p.lock = again
		if err := state.ForgetMembers(p.conf.Dir, true); err != nil {
			return err
		}
		p.gone = true
	}
}

// sentAway reports whether the proxies do not know this machine as a member any more.
func sentAway(err error) bool {
	var refusal *membership.Refusal
	return errors.As(err, &refusal) && refusal.Code == membership.CodeNotMember
}

// siteOptions are those that say whom sites run as, and where Tomcat is.
func (p *Agent) siteOptions() agent.Options {
	return agent.Options{
		SiteUser: p.conf.Agent.SiteUser, AllowUsers: p.conf.Agent.AllowUsers,
		HookUsers: p.conf.Agent.HookUsers, Tomcat: p.tomcat(),
		DiskReserve: p.conf.Agent.DiskReserve.Bytes(), LogSize: p.conf.Agent.LogSize.Bytes(), HookTimeout: p.conf.Agent.CommandTimeout.Std(),
		Ports: sitePorts(p.conf.Agent),
	}
}

// sitePorts is the range of agent.ports, which has been checked.
func sitePorts(c conf.Agent) account.Range {
	first, last, _ := conf.ParsePorts(c.Ports)
	return account.Range{First: first, Count: last - first + 1}
}

func (p *Agent) tomcat() tomcat.Options {
	t := p.conf.Agent.Tomcat
	return tomcat.Options{Home: t.Home, ManagerURL: t.URL, User: t.User, PasswordFile: t.PasswordFile}
}

// proxyTLS is the client side towards any proxy of the cluster.
func (p *Agent) proxyTLS() *tls.Config {
	return p.memberTLS(catalog.RoleProxy, "")
}

// memberTLS is the client side towards one member. A proxy is asked for its
// member's certificate by name, because its listener has another for people.
func (p *Agent) memberTLS(role catalog.Role, name string) *tls.Config {
	c := p.identity.ClientConfig(role, name, p.check)
	if role == catalog.RoleProxy {
		c.ServerName = certs.MemberServerName
	}
	return c
}

// check accepts who stands in the wanted state that came last. Before the
// first one that names the proxies, a genuine certificate of the cluster has to do.
func (p *Agent) check(role catalog.Role, name, fingerprint string) error {
	a := p.agent.Load()
	if a == nil {
		return nil
	}
	w := a.Wanted()
	if len(w.Proxies) == 0 { // no proxy has told yet, or this machine was sent away and is back
		return nil
	}
	peers := w.Proxies
	if role == catalog.RoleServer {
		peers = w.Servers
	}
	if !messages.Known(peers, name, fingerprint) {
		return fmt.Errorf("%w: %s %q with key %s", certs.ErrNotMember, role, name, fingerprint)
	}
	return nil
}

// identify names the peer of a finished handshake, for the agent's listener.
func (p *Agent) identify(state tls.ConnectionState) (catalog.Role, string, error) {
	peer, fingerprint, ok := certs.PeerOf(state)
	if !ok {
		return "", "", certs.ErrNotMember
	}
	return peer.Role, peer.Name, p.check(peer.Role, peer.Name, fingerprint)
}

// serve runs the three parts of an accepted member: the agent, gossip, and the keeper of its
// certificate and keys. The first that ends ends the others. The agent comes first: what the
// others ask for is not what visitors wait for.
func (p *Agent) serve(ctx context.Context) error {
	nudges := make(chan int64, 1)
	a, err := agent.New(p.agentOptions(nudges))
	if err != nil {
		return err
	}
	p.agent.Store(a)
	defer p.agent.Store(nil)
	if err := a.Listen(); err != nil {
		return errors.Join(err, p.end(ctx, a.Leave))
	}
	p.log.Info("agent is ready", "name", p.conf.Agent.Name, "address", a.Addr().String(), "version", p.options.Version)
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() { stop(a.Serve(work)) })
	wg.Go(func() { stop(p.belong(work, nudges)) })
	if p.brief {
		select {
		case <-a.Resumed():
		case <-work.Done():
		}
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		end()
	}
	select {
	case <-ctx.Done():
		err = nil
	case <-work.Done():
		err = context.Cause(work)
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	ended := statedir.AnnounceEnd(p.conf.Dir, p.log)
	defer ended()
	if sentAway(err) || err == nil && p.endsSites() {
		select { // sites that the agent before this one left are found first
		case <-a.Resumed():
		case <-work.Done():
		}
		p.log.Info("stopping: sites get their grace", "limit", stopLimit.String())
		err = errors.Join(err, p.end(ctx, a.Shutdown))
	} else {
		p.log.Info("stopping: sites run on, the next agent takes them over")
		err = errors.Join(err, p.end(ctx, a.Leave))
	}
	stop(nil)
	wg.Wait()
	return err
}

// end is how the agent ends, with a limit.
func (p *Agent) end(ctx context.Context, how func(context.Context) error) error {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return how(end)
}

// belong gossips, and keeps the certificate and the keys current, until ctx ends or the proxies
// do not know this machine any more.
func (p *Agent) belong(ctx context.Context, nudges chan<- int64) error {
	gossip, err := p.startGossip(ctx)
	if err != nil {
		return err
	}
	// It does not leave: who restarts an agent means to be back, and saying so takes seconds.
	defer func() { _ = gossip.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
	}()
	wg.Go(func() { pass(ctx, gossip.Revisions(), nudges) })
	hello, err := p.hello(ctx)
	if err != nil {
		return err
	}
	return membership.Keep(ctx, membership.KeepOptions{
		Identity: p.identity, Servers: p.servers, Member: p.proxyTLS(),
		Hello: func() membership.Hello { return hello }, SetKeys: gossip.SetKeys, Logger: p.log,
		Renewed: func(a membership.Acceptance) { p.seeds.Store(&a.Seeds) },
	})
}

// pass hands revisions on until ctx ends.
func pass(ctx context.Context, from <-chan int64, to chan<- int64) {
	for {
		select {
		case n, ok := <-from:
			if !ok {
				return
			}
			select {
			case to <- n:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// servers are the admin addresses of the proxies known now, the configured ones last.
func (p *Agent) servers() []string {
	var addrs []string
	if a := p.agent.Load(); a != nil {
		for _, peer := range a.Wanted().Proxies {
			if peer.Addr != "" {
				addrs = append(addrs, peer.Addr)
			}
		}
	}
	return append(addrs, p.conf.Agent.Join...)
}

func (p *Agent) startGossip(ctx context.Context) (*membership.Cluster, error) {
	keys, err := p.identity.GossipKeys()
	if err != nil {
		return nil, err
	}
	return membership.New(ctx, membership.Options{
		Name: p.conf.Agent.Name, Role: catalog.RoleServer, ID: p.identity.ID(), Fingerprint: p.identity.Fingerprint(), Version: p.options.Version,
		Bind: p.conf.Gossip.Address, Advertise: p.conf.Gossip.Advertise, Keys: keys, Dir: filepath.Join(p.conf.Dir, "gossip"),
		Seeds: p.knownSeeds, Logger: p.log.With("part", "gossip"),
	})
}

// knownSeeds are the gossip addresses that a proxy told last.
func (p *Agent) knownSeeds() []string {
	if s := p.seeds.Load(); s != nil {
		return *s
	}
	return nil
}

func (p *Agent) agentOptions(nudges <-chan int64) agent.Options {
	o := p.siteOptions()
	o.Dir, o.Name, o.Version, o.Logger, o.Lock = p.conf.Dir, p.conf.Agent.Name, p.options.Version, p.log, p.lock
	o.Listen, o.ServerTLS, o.Identify = p.conf.Agent.Address, p.identity.ServerConfig(p.check), p.identify
	o.ClientTLS, o.Nudge = p.memberTLS, nudges
	if peer, ok := p.identity.Peer(); ok {
		o.Cluster = peer.Cluster
	}
	for _, addr := range p.conf.Agent.Join {
		o.Proxies = append(o.Proxies, messages.Peer{Addr: addr})
	}
	o.Runtimes = p.runtimes
	return o
}
