// Package frontdoor runs a proxy: its parts in the order in which they start, the loop that waits for what ends them, and the
// take-over by the next process on the same folder. It needs no process of its own: whoever has the options can run one.
package frontdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"portico/balancer"
	"portico/certs"
	"portico/conf"
	"portico/deployhook"
	"portico/deployhook/objects"
	"portico/internal/pause"
	"portico/internal/preflight"
	"portico/internal/statedir"
	"portico/internal/takeover"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy"
	"portico/proxy/accesslog"
	"portico/proxy/admin"
)

// Options are what a proxy is started with.
type Options struct {
	Conf    conf.Config
	Code    string // of an invitation to join with; "" without one
	Version string // of the program

	// TakeOver takes the place of the proxy that runs on the folder, and gives it to one that asks for it later. Without
	// it only the end of one that was told to stop is waited for.
	TakeOver bool

	Logger *slog.Logger
	Level  *slog.LevelVar // of Logger, set by a reload; nil: not changed

	Interrupts <-chan os.Signal   // each Ctrl-C: one after that which ended Run's context cuts running requests; nil: nobody presses it
	Notify     func(state string) // tells the service manager; nil: there is none
}

// Proxy is a running proxy: its parts in the order in which
// they start. They stop in the opposite one.
type Proxy struct {
	conf    conf.Config
	loaded  conf.Config                 // as it was read, without what this process has filled in
	sites   atomic.Pointer[[]conf.Site] // of the file; a reload replaces them
	options Options
	log     *slog.Logger
	started time.Time
	joining *catalog.Joining // what the others gave this proxy to begin with; nil: it goes on with its own
	sealKey []byte           // of the catalog's secrets

	catalog   *catalog.Catalog
	authority *certs.Authority
	identity  *certs.Identity
	certs     *certs.Manager
	objects   *objects.Store
	access    *accesslog.Log
	web       *proxy.Server
	gossip    *membership.Cluster
	admission *membership.Admission
	peers     *peerClients
	moved     chan admin.MovedSession // sessions that moved and that other proxies are to be told of
	deployer  *deployhook.Deployer
	admin     *admin.Server
	listener  *adminListener
	local     minted     // what client.json is to hold
	served    chan error // gets what ended the traffic; nil: it has not begun

	sockets takeover.Sockets   // of the web and admin listeners
	adopted bool               // some of them came from the service manager
	claim   *takeover.Claim    // on the process that had the folder before; nil: none
	alone   context.CancelFunc // ends waiting for what that leaves; nil: nobody waits

	inherited chan struct{} // closed when it has left all; nil: there was none
	silent    atomic.Bool   // it has left all: nothing of it or of one before it comes any more
	offers    *offers       // to the process that will have it next; nil: it waits until this one has ended
	heir      atomic.Int64  // process id of one that this process has started; 0: none

	working *working // what belongs to the catalog; nil: it is another process's
	wg      sync.WaitGroup
	once    sync.Once
}

// New opens everything and binds every port, once nobody else has the folder. A proxy that is to share the cluster of others
// waits until they let it, with the code if it has one. On an error nothing is left running.
func New(ctx context.Context, o Options) (_ *Proxy, err error) {
	p := &Proxy{options: o, conf: o.Conf, loaded: o.Conf, log: o.Logger, started: time.Now(), moved: make(chan admin.MovedSession, maxRelocated)}
	p.sites.Store(&o.Conf.Sites)
	defer func() {
		if err != nil {
			p.Close()
			p.disclaim(err)
		}
	}()
	if p.conf.Proxy.Name == "" {
		p.conf.Proxy.Name = membership.DefaultName()
	}
	if err := Preflight(o.Conf); err != nil {
		return nil, err
	}
	former := p.awaitFormer
	if o.TakeOver {
		former = p.succeed
	}
	if err := former(ctx); err != nil {
		return nil, err
	}
	if err := p.tryAddresses(); err != nil {
		return nil, err
	}
	if err := p.open(ctx, p.joinCluster, p.openCatalog, p.enrol, p.openCerts, p.openWeb); err != nil {
		return nil, err
	}
	if p.claim == nil && !p.adopted {
		p.beginTraffic(ctx) // who connects is served, with the last view if need be
	}
	if err := p.openWorkBesideTraffic(ctx); err != nil {
		return nil, err
	}
	if err := p.assume(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// tryAddresses refuses addresses that others have. Those of who is taken over come from that process.
func (p *Proxy) tryAddresses() error {
	if p.claim != nil || p.adopted {
		return nil
	}
	return preflight.TryAddresses(Addresses(p.conf), p.conf.Dir)
}

// openWork opens what belongs to the catalog, all but the traffic.
func (p *Proxy) openWork(ctx context.Context) error {
	return p.open(ctx, p.openGossip, p.openAdmission, p.openDeployer, p.openAdmin, p.leaveAccess)
}

// descriptorsWait is between two tries to open what there were no descriptors for.
const descriptorsWait = time.Second

// openWorkBesideTraffic is openWork while visitors are served already, who may have taken every
// descriptor: a process that ended for that would send all of them away.
func (p *Proxy) openWorkBesideTraffic(ctx context.Context) error {
	for {
		err := p.openWork(ctx)
		if !outOfDescriptors(err) {
			return err
		}
		p.log.Error("out of descriptors: visitors are served, everything else waits until some are free",
			"remedy", "raise LimitNOFILE of the unit (ulimit -n)", "error", err)
		p.rest()
		p.forgetWork()
		if err := pause.For(ctx, descriptorsWait); err != nil {
			return err
		}
	}
}

// outOfDescriptors goes by the words as well: not every library keeps the error itself.
func outOfDescriptors(err error) bool {
	return err != nil && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || strings.Contains(err.Error(), syscall.EMFILE.Error()))
}

// forgetWork forgets what rest has closed.
func (p *Proxy) forgetWork() {
	p.listener, p.deployer, p.admission, p.gossip, p.working = nil, nil, nil, nil, nil
}

func (p *Proxy) open(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *Proxy) path(parts ...string) string {
	return filepath.Join(append([]string{p.conf.Dir}, parts...)...)
}

func (p *Proxy) openCatalog(ctx context.Context) error {
	peers, err := p.catalogPeers(ctx)
	if err != nil {
		return err
	}
	if p.sealKey, err = catalog.LoadKey(p.path("identity", "catalog.key")); err != nil {
		return err
	}
	p.catalog, err = catalog.Open(ctx, catalog.Options{
		Dir: p.path("catalog"), Name: p.conf.Proxy.Name, Key: p.sealKey, Peers: peers, Logger: p.log.With("part", "catalog"),
		Outside: outsideCatalog(p.conf.Catalog),
	})
	return err
}

// outsideCatalog is the etcd that the configuration names, nil for the embedded one.
func outsideCatalog(c conf.Catalog) *catalog.Outside {
	if len(c.Endpoints) == 0 {
		return nil
	}
	return &catalog.Outside{Endpoints: c.Endpoints, CA: c.CA, Cert: c.Cert, Key: c.Key, Prefix: c.Prefix}
}

func (p *Proxy) openWeb(context.Context) error {
	keys, err := sessionKeys(p.catalog)
	if err != nil {
		return err
	}
	if p.access, err = openAccessLog(p.conf.Log); err != nil {
		return err
	}
	p.web, err = proxy.New(proxy.Options{
		Conf: p.conf.Proxy, Keys: keys,
		TLS: p.certs.TLSConfig(), HasCertificate: p.certs.HasCertificate, Challenge: p.certs.HTTPChallengeHandler,
		AgentTLS:  func(member string) *tls.Config { return p.identity.ClientConfig(catalog.RoleServer, member, p.check()) },
		AccessLog: p.access, Listen: p.sockets.Listen, Logger: p.log.With("part", "proxy"), Moved: p.relocated,
	})
	if err != nil {
		return err
	}
	p.web.SetStatic(*p.sites.Load())
	p.web.Update(p.catalog.View())
	if err := p.restoreSessions(time.Now()); err != nil {
		p.log.Warn("saved sessions not restored: they are counted anew", "error", err)
	}
	if p.claim == nil { // nobody is left who could tell what became of a move
		p.web.Balancer().SettleFormer()
	}
	return p.web.Listen()
}

// check looks every peer up in the current view, so that revocation takes
// effect with the next handshake and the next request.
func (p *Proxy) check() certs.Check { return certs.CheckView(p.catalog.View) }

func (p *Proxy) openGossip(ctx context.Context) error {
	keys, err := p.catalog.GossipKeys()
	if err != nil {
		return err
	}
	p.gossip, err = membership.New(ctx, membership.Options{
		Name: p.conf.Proxy.Name, Role: catalog.RoleProxy, ID: p.identity.ID(), Fingerprint: p.identity.Fingerprint(), Version: p.options.Version,
		Bind: p.conf.Gossip.Address, Advertise: p.conf.Gossip.Advertise, Keys: keys, Dir: p.path("gossip"),
		Seeds: p.seeds, Admit: p.admits, Logger: p.log.With("part", "gossip"),
	})
	return err
}

// openAdmission makes the side of this proxy that takes knocks.
func (p *Proxy) openAdmission(context.Context) error {
	p.admission = membership.NewAdmission(membership.AdmissionOptions{
		Catalog: p.catalog, Authority: p.authority, Name: p.conf.Proxy.Name, Version: p.options.Version,
		Loopback: isLoopback(p.conf.Admin.Address), Member: certs.MemberOf(p.catalog.View),
		SetKeys: p.gossip.SetKeys, Forget: p.gossip.Forget, SealKey: p.sealKey, Revoking: p.revoking, Logger: p.log.With("part", "admission"),
	})
	return nil
}

// seeds are the gossip addresses of the other accepted members.
func (p *Proxy) seeds() []string {
	var addrs []string
	for _, m := range p.catalog.View().Members {
		if m.Admission == catalog.Accepted && m.Name != p.conf.Proxy.Name && m.Gossip != "" {
			addrs = append(addrs, m.Gossip)
		}
	}
	return addrs
}

func (p *Proxy) admits(name, fingerprint string) bool {
	m := p.catalog.View().Members[name]
	return m != nil && m.Admission == catalog.Accepted && m.Fingerprint == fingerprint
}

func (p *Proxy) openDeployer(context.Context) error {
	p.peers = newPeerClients(func(name string) *tls.Config { return p.identity.ClientConfig(catalog.RoleProxy, name, p.check()) })
	var err error
	if p.objects, err = objects.Open(p.path("objects")); err != nil {
		return err
	}
	p.deployer, err = deployhook.New(deployhook.Options{
		Catalog: p.catalog, Objects: p.objects, Dir: p.conf.Dir, Name: p.conf.Proxy.Name, Upload: p.conf.Upload,
		Logger: p.log.With("part", "deploy"),
		Actor:  func(ctx context.Context) string { return admin.ActorFrom(ctx).Account },
		Load:   p.load, InRotation: p.web.InRotation, Alive: p.alive, Agent: p.agentClient,
		Peer: p.peers.client, AnswerPeer: p.answerPeer,
		Loss: p.loss, MoveQuiet: p.moveQuiet, Failed: p.web.Failed, Leaving: p.web.MemberLeaves,
	})
	return err
}

// alive is gossip's hint about a member; one that gossip never saw gets the benefit of the doubt.
func (p *Proxy) alive(member string) bool {
	for _, n := range p.gossip.Members() {
		if n.Name == member {
			return n.Status == membership.StatusAlive
		}
	}
	return true
}

// agentClient reaches a service of a member's agent; the server name says which.
func (p *Proxy) agentClient(m catalog.Member, service string) (*http.Client, string, error) {
	if m.Addr == "" {
		return nil, "", fmt.Errorf("member %s has told no address", m.Name)
	}
	config := p.identity.ClientConfig(catalog.RoleServer, m.Name, p.check())
	config.ServerName = service
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}, "https://" + m.Addr, nil
}

// beginTraffic serves visitors from now on. It may be called twice.
func (p *Proxy) beginTraffic(ctx context.Context) {
	if p.served != nil {
		return
	}
	p.served = make(chan error, 1)
	p.wg.Go(func() { p.served <- p.web.Serve(context.WithoutCancel(ctx)) })
}

// goodbye bounds how long the gossip is left: it takes about half a second.
const goodbye = 2 * time.Second

// Run serves until ctx ends or another process has taken over, then stops outside in.
func (p *Proxy) Run(ctx context.Context) error {
	p.beginTraffic(ctx)
	p.work(ctx)
	if p.claim != nil {
		var left context.Context
		left, p.alone = context.WithCancel(context.WithoutCancel(ctx))
		p.inherited = make(chan struct{})
		p.wg.Go(func() { p.inherit(left) })
	}
	p.invite()
	heir, err := p.serve(ctx)
	if heir != nil {
		return p.retire(ctx, heir)
	}
	defer statedir.AnnounceEnd(p.conf.Dir, p.log)()
	if p.claim != nil {
		_ = p.claim.End() // what is left of the process before goes with this one; it has ended as a rule
	}
	p.withdraw()
	p.log.Info("stopping: running requests may finish, a second Ctrl-C cuts them", "limit", p.conf.Proxy.Timeouts.Drain.String())
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.conf.Proxy.Timeouts.Drain.Std())
	defer cancel()
	defer onPress(p.options.Interrupts, func() { p.log.Warn("Ctrl-C was pressed again: requests that still run are cut"); cancel() })()
	err = errors.Join(err, p.web.Shutdown(end))
	if err := p.saveSessions(); err != nil {
		p.log.Warn("sessions not saved: the next start counts them anew", "error", err)
	}
	if p.gossip != nil {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye) // also when the drain took all its time
		defer cancel()
		_ = p.gossip.Leave(bye)
	}
	p.Close()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		p.log.Warn("requests were cut at the end of the drain time", "setting", "proxy.timeouts.drain")
		err = nil
	case errors.Is(err, context.Canceled): // Ctrl-C again
		err = nil
	}
	return err
}

// Close ends what is open, in the opposite order of its start. It may be called twice, and after Run it has nothing to do.
func (p *Proxy) Close() {
	p.once.Do(func() {
		p.rest()
		if p.web != nil {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			_ = p.web.Shutdown(ended)
		}
		if p.alone != nil {
			p.alone()
		}
		p.wg.Wait()
		if p.access != nil {
			_ = p.access.Close()
		}
		if p.certs != nil {
			p.certs.Close()
		}
		if p.catalog != nil {
			_ = p.catalog.Close()
		}
		p.sockets.Close()
	})
}

// sessionKeys returns the keys that seal the cookies.
func sessionKeys(c *catalog.Catalog) ([]balancer.Key, error) {
	data, err := c.Secret(catalog.SecretSession)
	if err != nil {
		return nil, fmt.Errorf("read session keys: %w", err)
	}
	return balancer.DecodeKeys(data)
}
