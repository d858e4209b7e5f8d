package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"portico/certs"
	"portico/conf"
	"portico/deployhook/agent"
	"portico/membership"
	"portico/membership/catalog"
)

// stopLimit is how long a stopping agent waits for its sites; each has its own
// grace below that.
const stopLimit = 60 * time.Second

// agentProcess is a running application server.
type agentProcess struct {
	conf     conf.Config
	code     string // of an invitation, "" without one
	log      *slog.Logger
	identity *certs.Identity
	lock     *agent.Lock // on the state folder, while it runs
	seeds    []string    // gossip addresses that acceptance told
	agent    atomic.Pointer[agent.Agent]
}

// newAgentProcess opens the identity. Everything else waits for acceptance.
func newAgentProcess(c conf.Config, code string, log *slog.Logger) (*agentProcess, error) {
	if err := makeStateDir(c.Dir); err != nil {
		return nil, err
	}
	id, err := certs.LoadIdentity(filepath.Join(c.Dir, "identity"))
	if err != nil {
		return nil, err
	}
	if c.Agent.Name, err = ownName(id, catalog.RoleServer, c.Agent.Name, c.Dir); err != nil {
		return nil, usageError{err}
	}
	return &agentProcess{conf: c, code: code, log: log, identity: id}, nil
}

// ownName is the name of the member whose state lies in dir. What was accepted once keeps its name,
// also where the machine has got another one since; it is neither another member's nor of the
// other role, whose record in the cluster it would write over.
func ownName(id *certs.Identity, role catalog.Role, name, dir string) (string, error) {
	peer, accepted := id.Peer()
	switch {
	case !accepted && name == "":
		return membership.DefaultName(), nil
	case !accepted:
		return name, nil
	case peer.Role != role:
		return "", fmt.Errorf("%s is the folder of %s %q: give another --dir", dir, peer.Role, peer.Name)
	case name != "" && name != peer.Name:
		return "", fmt.Errorf("%s is the folder of member %q, and this one is to be called %q: start it with that name, or give another --dir", dir, peer.Name, name)
	}
	return peer.Name, nil
}

// run joins the cluster and serves until ctx ends or the cluster sends this
// machine away.
func (p *agentProcess) run(ctx context.Context) error {
	if err := awaitPredecessor(ctx, p.conf.Dir, p.log); err != nil {
		return err
	}
	lock, err := agent.LockDir(p.conf.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	p.lock = lock
	hello, err := p.hello(ctx)
	if err != nil {
		return err
	}
	if err := p.join(ctx, hello); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	return p.serve(ctx, hello)
}

// hello is what this machine tells about itself.
func (p *agentProcess) hello(ctx context.Context) (membership.Hello, error) {
	addr, why, err := membership.Advertised(ctx, p.conf.Agent.Advertise, p.conf.Agent.Address, p.conf.Agent.Join)
	if err != nil {
		return membership.Hello{}, fmt.Errorf("find the address that proxies reach this machine at: %w: set agent.advertise", err)
	}
	gossip, _, err := membership.Advertised(ctx, p.conf.Gossip.Advertise, p.conf.Gossip.Address, p.conf.Agent.Join)
	if err != nil {
		return membership.Hello{}, fmt.Errorf("find the gossip address of this machine: %w: set gossip.advertise", err)
	}
	p.log.Info("address found", "address", addr, "how", why)
	return membership.Hello{
		Name: p.conf.Agent.Name, Role: catalog.RoleServer, Addr: addr, Gossip: gossip,
		Version: buildVersion(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Runtimes: p.runtimes(ctx), Zone: p.conf.Agent.Zone, Weight: p.conf.Agent.Weight,
	}, nil
}

// runtimes are those found here, and those that the configuration adds.
func (p *agentProcess) runtimes(ctx context.Context) map[string]string {
	found := agent.Runtimes(ctx, p.tomcat())
	for name, version := range p.conf.Agent.Runtimes {
		found[name] = version
	}
	return found
}

func (p *agentProcess) tomcat() agent.TomcatOptions {
	t := p.conf.Agent.Tomcat
	return agent.TomcatOptions{ManagerURL: t.URL, User: t.User, PasswordFile: t.PasswordFile}
}

func (p *agentProcess) join(ctx context.Context, hello membership.Hello) error {
	o := membership.JoinOptions{
		Identity: p.identity, Servers: p.conf.Agent.Join, Member: p.proxyTLS(), Hello: hello, Code: p.code,
		Patience: refusedPause, Progress: p.progress, Logger: p.log,
	}
	if p.conf.Agent.Fingerprint == "" && p.identity.NotAfter().IsZero() {
		return usageError{errors.New("the cluster's fingerprint is missing: give --fingerprint (agent.fingerprint) as portico proxy prints it at its start")}
	}
	if p.conf.Agent.Fingerprint != "" {
		var err error
		if o.Pinned, err = certs.PinnedClientTLS(p.conf.Agent.Fingerprint); err != nil {
			return usageError{err}
		}
	}
	accepted, err := membership.Join(ctx, o)
	p.seeds = accepted.Seeds
	return err
}

// refusedPause is between two knocks of a machine that an operator refused: long
// enough to cost nobody anything, short enough for who has just changed her mind.
const refusedPause = 10 * time.Second

// progress tells the person in front of this machine what to do in front of
// the other.
func (p *agentProcess) progress(now membership.Progress) {
	switch now.State {
	case membership.Waiting:
		p.log.Info("waiting for acceptance: compare the key fingerprint, then run portico accept "+p.conf.Agent.Name+" at the proxy",
			"proxy", now.Server, "key_fingerprint", now.Fingerprint)
	case membership.TurnedAway:
		p.log.Warn("refused, knocking again now and then: run portico accept "+p.conf.Agent.Name+" at the proxy to let this machine in, or stop this agent",
			"proxy", now.Server, "key_fingerprint", now.Fingerprint, "error", now.Err)
	case membership.Welcome:
		p.log.Info("accepted", "proxy", now.Server, "key_fingerprint", now.Fingerprint)
	case membership.Unreachable, membership.Offline:
		if errors.Is(now.Err, certs.ErrWrongAuthority) {
			p.log.Warn("not the proxy that was named: give --fingerprint as the proxy prints it at its start, or --join the right one", "proxy", now.Server, "error", now.Err)
			return
		}
		p.log.Warn("proxy not reached", "proxy", now.Server, "state", string(now.State), "error", now.Err)
	default:
		p.log.Info("knocking", "proxy", now.Server, "key_fingerprint", now.Fingerprint)
	}
}

// proxyTLS is the client side towards any proxy of the cluster.
func (p *agentProcess) proxyTLS() *tls.Config {
	return p.memberTLS(catalog.RoleProxy, "")
}

// memberTLS is the client side towards one member. A proxy is asked for its
// member's certificate by name, because its listener has another for people.
func (p *agentProcess) memberTLS(role catalog.Role, name string) *tls.Config {
	c := p.identity.ClientConfig(role, name, p.check)
	if role == catalog.RoleProxy {
		c.ServerName = memberServerName
	}
	return c
}

// check accepts who stands in the wanted state that came last. Before the
// first one, a genuine certificate of the cluster has to do.
func (p *agentProcess) check(role catalog.Role, name, _ string) error {
	a := p.agent.Load()
	if a == nil {
		return nil
	}
	w := a.Wanted()
	if w.Cluster == "" {
		return nil
	}
	peers := w.Proxies
	if role == catalog.RoleServer {
		peers = w.Servers
	}
	for _, peer := range peers {
		if peer.Name == name {
			return nil
		}
	}
	return fmt.Errorf("%w: %s %q", certs.ErrNotMember, role, name)
}

// identify names the peer of a finished handshake, for the agent's listener.
func (p *agentProcess) identify(state tls.ConnectionState) (catalog.Role, string, error) {
	peer, fingerprint, ok := certs.PeerOf(state)
	if !ok {
		return "", "", certs.ErrNotMember
	}
	return peer.Role, peer.Name, p.check(peer.Role, peer.Name, fingerprint)
}

// serve runs the three parts of an accepted member: gossip, the keeper of its
// certificate and keys, and the agent. The first that ends ends the others.
func (p *agentProcess) serve(ctx context.Context, hello membership.Hello) error {
	gossip, err := p.startGossip(ctx)
	if err != nil {
		return err
	}
	ended := func() {}
	defer func() {
		_ = gossip.Close()
		ended()
	}()
	a, err := agent.New(p.agentOptions(gossip))
	if err != nil {
		return err
	}
	p.agent.Store(a)
	if err := a.Listen(); err != nil {
		return errors.Join(err, p.shutdown(ctx, a))
	}
	p.log.Info("agent is ready", "name", p.conf.Agent.Name, "address", a.Addr().String(), "version", buildVersion())

	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		stop(membership.Keep(work, membership.KeepOptions{
			Identity: p.identity, Servers: p.servers, Member: p.proxyTLS(),
			Hello: func() membership.Hello { return hello }, SetKeys: gossip.SetKeys, Logger: p.log,
		}))
	})
	wg.Go(func() { stop(a.Serve(work)) })
	select {
	case <-ctx.Done():
		err = nil
	case <-work.Done():
		err = context.Cause(work)
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if refusal := (*membership.Refusal)(nil); errors.As(err, &refusal) && refusal.Code == membership.CodeNotMember {
		err = fmt.Errorf("the cluster does not know this machine any more: it was revoked or removed (%w)", err)
	}
	ended = announceEnd(p.conf.Dir, p.log)
	p.log.Info("stopping: sites get their grace", "limit", stopLimit.String())
	err = errors.Join(err, p.shutdown(ctx, a))
	_ = gossip.Leave(context.WithoutCancel(ctx))
	stop(nil)
	wg.Wait()
	return err
}

func (p *agentProcess) shutdown(ctx context.Context, a *agent.Agent) error {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return a.Shutdown(end)
}

// servers are the admin addresses of the proxies known now, the configured ones last.
func (p *agentProcess) servers() []string {
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

func (p *agentProcess) startGossip(ctx context.Context) (*membership.Cluster, error) {
	keys, err := p.identity.GossipKeys()
	if err != nil {
		return nil, err
	}
	return membership.New(ctx, membership.Options{
		Name: p.conf.Agent.Name, Role: catalog.RoleServer, ID: p.identity.ID(), Fingerprint: p.identity.Fingerprint(), Version: buildVersion(),
		Bind: p.conf.Gossip.Address, Advertise: p.conf.Gossip.Advertise, Keys: keys, Dir: filepath.Join(p.conf.Dir, "gossip"),
		Seeds: func() []string { return p.seeds }, Logger: p.log.With("part", "gossip"),
	})
}

func (p *agentProcess) agentOptions(gossip *membership.Cluster) agent.Options {
	o := agent.Options{
		Dir: p.conf.Dir, Name: p.conf.Agent.Name, Version: buildVersion(), Logger: p.log, Lock: p.lock,
		Listen: p.conf.Agent.Address, ServerTLS: p.identity.ServerConfig(p.check), Identify: p.identify,
		ClientTLS: p.memberTLS,
		Nudge:     gossip.Revisions(),
		SiteUser:  p.conf.Agent.SiteUser, AllowUsers: p.conf.Agent.AllowUsers,
		Tomcat: p.tomcat(),
	}
	if peer, ok := p.identity.Peer(); ok {
		o.Cluster = peer.Cluster
	}
	for _, addr := range p.conf.Agent.Join {
		o.Proxies = append(o.Proxies, catalog.Peer{Addr: addr})
	}
	o.Runtimes = p.runtimes(context.Background())
	return o
}
