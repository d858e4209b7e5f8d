package appserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"portico/certs"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/machine"
	"portico/deployhook/agent/state"
	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/membership"
	"portico/membership/catalog"
)

// hello is what this machine tells about itself. It asks for the runtimes, which takes seconds.
func (p *Agent) hello(ctx context.Context) (membership.Hello, error) {
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
		Version: p.options.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Runtimes: p.runtimes(ctx), Zone: p.conf.Agent.Zone, Weight: p.conf.Agent.Weight,
	}, nil
}

// runtimes are those found here, and those that the configuration adds. The machine is asked
// once in the life of the process.
func (p *Agent) runtimes(ctx context.Context) map[string]string {
	p.asking.Lock()
	defer p.asking.Unlock()
	if found := p.found.Load(); found != nil {
		return *found
	}
	users, _ := account.UsersOf(p.conf.Agent.SiteUser, p.conf.Agent.AllowUsers) // the agent says what is wrong with them
	found := machine.Runtimes(ctx, p.tomcat(), users.None)
	for name, version := range p.conf.Agent.Runtimes {
		found[name] = version
	}
	if ctx.Err() == nil {
		p.found.Store(&found)
	}
	return found
}

// accepted reports whether this machine can serve as a member without asking anybody first.
func (p *Agent) accepted() bool {
	keys, err := p.identity.GossipKeys()
	return err == nil && len(keys) > 0 && time.Now().Before(p.identity.NotAfter())
}

// join knocks until this machine is accepted, and remembers where.
func (p *Agent) join(ctx context.Context) error {
	hello, err := p.hello(ctx)
	if err != nil {
		return err
	}
	o := membership.JoinOptions{
		Identity: p.identity, Servers: p.conf.Agent.Join, Member: p.proxyTLS(), Hello: hello, Code: p.options.Code,
		Patience: membership.RefusedPause, Progress: p.progress, Logger: p.log,
	}
	fingerprint := p.conf.Agent.Fingerprint
	if fingerprint == "" {
		fingerprint = p.identity.AuthorityFingerprint()
	}
	if fingerprint == "" {
		return exitcode.Misuse(errors.New("the cluster's fingerprint is missing: give --fingerprint (agent.fingerprint) as portico proxy prints it at its start"))
	}
	if o.Pinned, err = certs.PinnedClientTLS(fingerprint); err != nil {
		return exitcode.Misuse(err)
	}
	accepted, err := membership.Join(ctx, o)
	var refusal *membership.Refusal
	if errors.As(err, &refusal) && refusal.Code == membership.CodeInvite && p.identity.AuthorityFingerprint() != "" {
		o.Code = "" // the one that let this machine in once still stands in its configuration
		accepted, err = membership.Join(ctx, o)
	}
	if err != nil {
		return err
	}
	p.seeds.Store(&accepted.Seeds)
	if len(accepted.Certificate) > 0 { // who were members before says nothing now
		return state.ForgetMembers(p.conf.Dir, p.gone)
	}
	return nil
}

// joinedFile, below the agent's own folder, says at which proxies this machine is a member, so that it
// needs no --join to start again. The cluster's fingerprint is in its identity.
const joinedFile = "joined.json"

type joined struct {
	Join []string `json:"join"`
}

// rememberProxies writes down where the proxies are, or reads it where nothing was given.
func (p *Agent) rememberProxies() error {
	path := filepath.Join(p.conf.Dir, "agent", joinedFile)
	var known joined
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read where this machine joined: %s: %w: remove the file and start with --join", path, err)
	}
	given := p.conf.Agent.Join
	if len(given) == 0 {
		given = known.Join
	}
	if len(given) == 0 {
		proxies, err := state.KnownProxies(p.conf.Dir)
		if err != nil {
			return err
		}
		for _, x := range proxies {
			if x.Addr != "" {
				given = append(given, x.Addr)
			}
		}
	}
	if len(given) == 0 {
		return exitcode.Misuse(errors.New("no proxy is named: give --join PROXY:7443 and --fingerprint, as portico proxy prints them; once accepted, this machine remembers both"))
	}
	p.conf.Agent.Join = given
	if slices.Equal(given, known.Join) {
		return nil
	}
	return statedir.WriteWhole(path, func(w io.Writer) error { return json.NewEncoder(w).Encode(joined{given}) })
}

// progress tells the person in front of this machine what to do in front of
// the other.
func (p *Agent) progress(now membership.Progress) {
	accept := "portico accept " + p.conf.Agent.Name + " --fingerprint " + now.Fingerprint
	switch now.State {
	case membership.Waiting:
		p.log.Info("waiting for acceptance: compare the key fingerprint, or let portico do it: run "+accept+" at the proxy",
			"proxy", now.Server, "key_fingerprint", now.Fingerprint)
	case membership.TurnedAway:
		p.log.Warn("refused, knocking again now and then: run "+accept+" at the proxy to let this machine in, or stop this agent",
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
