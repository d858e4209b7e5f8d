package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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

// frontDoor is a running proxy: the parts of its process, in the order in which
// they start. They stop in the opposite one.
type frontDoor struct {
	conf    conf.Config
	loaded  conf.Config                 // as it was read, without what this process has filled in
	sites   atomic.Pointer[[]conf.Site] // of the file; a reload replaces them
	log     *slog.Logger
	level   *slog.LevelVar // nil: not changed by a reload
	started time.Time
	code    string           // of an invitation to join with; "" without one
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

// newFrontDoor opens everything and binds every port, once former has seen to it that
// nobody else has the folder. A proxy that is to share the cluster of others waits until they let it, with
// code if it has one. On an error nothing is left running.
func newFrontDoor(ctx context.Context, c conf.Config, code string, log *slog.Logger, former func(*frontDoor, context.Context) error) (_ *frontDoor, err error) {
	f := &frontDoor{conf: c, loaded: c, code: code, log: log, started: time.Now(), moved: make(chan admin.MovedSession, maxRelocated)}
	f.sites.Store(&c.Sites)
	defer func() {
		if err != nil {
			f.close()
			f.disclaim(err)
		}
	}()
	if f.conf.Proxy.Name == "" {
		f.conf.Proxy.Name = membership.DefaultName()
	}
	if err := proxyPreflight(c); err != nil {
		return nil, err
	}
	if err := former(f, ctx); err != nil {
		return nil, err
	}
	if err := f.tryAddresses(); err != nil {
		return nil, err
	}
	if err := f.open(ctx, f.joinCluster, f.openCatalog, f.enrol, f.openCerts, f.openWeb); err != nil {
		return nil, err
	}
	if f.claim == nil && !f.adopted {
		f.beginTraffic(ctx) // who connects is served, with the last view if need be
	}
	if err := f.openWorkBesideTraffic(ctx); err != nil {
		return nil, err
	}
	if err := f.assume(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// tryAddresses refuses addresses that others have. Those of who is taken over come from that process.
func (f *frontDoor) tryAddresses() error {
	if f.claim != nil || f.adopted {
		return nil
	}
	return preflight.TryAddresses(proxyAddresses(f.conf), f.conf.Dir)
}

// openWork opens what belongs to the catalog, all but the traffic.
func (f *frontDoor) openWork(ctx context.Context) error {
	return f.open(ctx, f.openGossip, f.openAdmission, f.openDeployer, f.openAdmin, f.leaveAccess)
}

// descriptorsWait is between two tries to open what there were no descriptors for.
const descriptorsWait = time.Second

// openWorkBesideTraffic is openWork while visitors are served already, who may have taken every
// descriptor: a process that ended for that would send all of them away.
func (f *frontDoor) openWorkBesideTraffic(ctx context.Context) error {
	for {
		err := f.openWork(ctx)
		if !outOfDescriptors(err) {
			return err
		}
		f.log.Error("out of descriptors: visitors are served, everything else waits until some are free",
			"remedy", "raise LimitNOFILE of the unit (ulimit -n)", "error", err)
		f.rest()
		f.forgetWork()
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
func (f *frontDoor) forgetWork() {
	f.listener, f.deployer, f.admission, f.gossip, f.working = nil, nil, nil, nil, nil
}

func (f *frontDoor) open(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *frontDoor) path(parts ...string) string {
	return filepath.Join(append([]string{f.conf.Dir}, parts...)...)
}

func (f *frontDoor) openCatalog(ctx context.Context) error {
	peers, err := f.catalogPeers(ctx)
	if err != nil {
		return err
	}
	if f.sealKey, err = catalog.LoadKey(f.path("identity", "catalog.key")); err != nil {
		return err
	}
	f.catalog, err = catalog.Open(ctx, catalog.Options{
		Dir: f.path("catalog"), Name: f.conf.Proxy.Name, Key: f.sealKey, Peers: peers, Logger: f.log.With("part", "catalog"),
		Outside: outsideCatalog(f.conf.Catalog),
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

func (f *frontDoor) openWeb(context.Context) error {
	keys, err := sessionKeys(f.catalog)
	if err != nil {
		return err
	}
	if f.access, err = openAccessLog(f.conf.Log); err != nil {
		return err
	}
	f.web, err = proxy.New(proxy.Options{
		Conf: f.conf.Proxy, Keys: keys,
		TLS: f.certs.TLSConfig(), HasCertificate: f.certs.HasCertificate, Challenge: f.certs.HTTPChallengeHandler,
		AgentTLS:  func(member string) *tls.Config { return f.identity.ClientConfig(catalog.RoleServer, member, f.check()) },
		AccessLog: f.access, Listen: f.sockets.Listen, Logger: f.log.With("part", "proxy"), Moved: f.relocated,
	})
	if err != nil {
		return err
	}
	f.web.SetStatic(*f.sites.Load())
	f.web.Update(f.catalog.View())
	if err := f.restoreSessions(time.Now()); err != nil {
		f.log.Warn("saved sessions not restored: they are counted anew", "error", err)
	}
	if f.claim == nil { // nobody is left who could tell what became of a move
		f.web.Balancer().SettleFormer()
	}
	return f.web.Listen()
}

// check looks every peer up in the current view, so that revocation takes
// effect with the next handshake and the next request.
func (f *frontDoor) check() certs.Check { return certs.CheckView(f.catalog.View) }

func (f *frontDoor) openGossip(ctx context.Context) error {
	keys, err := f.catalog.GossipKeys()
	if err != nil {
		return err
	}
	f.gossip, err = membership.New(ctx, membership.Options{
		Name: f.conf.Proxy.Name, Role: catalog.RoleProxy, ID: f.identity.ID(), Fingerprint: f.identity.Fingerprint(), Version: buildVersion(),
		Bind: f.conf.Gossip.Address, Advertise: f.conf.Gossip.Advertise, Keys: keys, Dir: f.path("gossip"),
		Seeds: f.seeds, Admit: f.admits, Logger: f.log.With("part", "gossip"),
	})
	return err
}

// openAdmission makes the side of this proxy that takes knocks.
func (f *frontDoor) openAdmission(context.Context) error {
	f.admission = membership.NewAdmission(membership.AdmissionOptions{
		Catalog: f.catalog, Authority: f.authority, Name: f.conf.Proxy.Name, Version: buildVersion(),
		Loopback: isLoopback(f.conf.Admin.Address), Member: certs.MemberOf(f.catalog.View),
		SetKeys: f.gossip.SetKeys, Forget: f.gossip.Forget, SealKey: f.sealKey, Revoking: f.revoking, Logger: f.log.With("part", "admission"),
	})
	return nil
}

// seeds are the gossip addresses of the other accepted members.
func (f *frontDoor) seeds() []string {
	var addrs []string
	for _, m := range f.catalog.View().Members {
		if m.Admission == catalog.Accepted && m.Name != f.conf.Proxy.Name && m.Gossip != "" {
			addrs = append(addrs, m.Gossip)
		}
	}
	return addrs
}

func (f *frontDoor) admits(name, fingerprint string) bool {
	m := f.catalog.View().Members[name]
	return m != nil && m.Admission == catalog.Accepted && m.Fingerprint == fingerprint
}

func (f *frontDoor) openDeployer(context.Context) error {
	f.peers = newPeerClients(func(name string) *tls.Config { return f.identity.ClientConfig(catalog.RoleProxy, name, f.check()) })
	var err error
	if f.objects, err = objects.Open(f.path("objects")); err != nil {
		return err
	}
	f.deployer, err = deployhook.New(deployhook.Options{
		Catalog: f.catalog, Objects: f.objects, Dir: f.conf.Dir, Name: f.conf.Proxy.Name, Upload: f.conf.Upload,
		Logger: f.log.With("part", "deploy"),
		Actor:  func(ctx context.Context) string { return admin.ActorFrom(ctx).Account },
		Load:   f.load, InRotation: f.web.InRotation, Alive: f.alive, Agent: f.agentClient,
		Peer: f.peers.client, AnswerPeer: f.answerPeer,
		Loss: f.loss, MoveQuiet: f.moveQuiet, Failed: f.web.Failed, Leaving: f.web.MemberLeaves,
	})
	return err
}

// alive is gossip's hint about a member; one that gossip never saw gets the benefit of the doubt.
func (f *frontDoor) alive(member string) bool {
	for _, n := range f.gossip.Members() {
		if n.Name == member {
			return n.Status == membership.StatusAlive
		}
	}
	return true
}

// agentClient reaches a service of a member's agent; the server name says which.
func (f *frontDoor) agentClient(m catalog.Member, service string) (*http.Client, string, error) {
	if m.Addr == "" {
		return nil, "", fmt.Errorf("member %s has told no address", m.Name)
	}
	config := f.identity.ClientConfig(catalog.RoleServer, m.Name, f.check())
	config.ServerName = service
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}, "https://" + m.Addr, nil
}

// beginTraffic serves visitors from now on. It may be called twice.
func (f *frontDoor) beginTraffic(ctx context.Context) {
	if f.served != nil {
		return
	}
	f.served = make(chan error, 1)
	f.wg.Go(func() { f.served <- f.web.Serve(context.WithoutCancel(ctx)) })
}

// goodbye bounds how long the gossip is left: it takes about half a second.
const goodbye = 2 * time.Second

// run serves until ctx ends or another process has taken over, then stops outside in.
func (f *frontDoor) run(ctx context.Context) error {
	presses, unwatch := watchPresses()
	defer unwatch()
	f.beginTraffic(ctx)
	f.work(ctx)
	if f.claim != nil {
		var left context.Context
		left, f.alone = context.WithCancel(context.WithoutCancel(ctx))
		f.inherited = make(chan struct{})
		f.wg.Go(func() { f.inherit(left) })
	}
	f.invite()
	heir, err := f.serve(ctx)
	if heir != nil {
		return f.retire(ctx, heir)
	}
	defer statedir.AnnounceEnd(f.conf.Dir, f.log)()
	if f.claim != nil {
		_ = f.claim.End() // what is left of the process before goes with this one; it has ended as a rule
	}
	f.withdraw()
	f.log.Info("stopping: running requests may finish, a second Ctrl-C cuts them", "limit", f.conf.Proxy.Timeouts.Drain.String())
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.conf.Proxy.Timeouts.Drain.Std())
	defer cancel()
	defer onPress(presses, func() { f.log.Warn("Ctrl-C was pressed again: requests that still run are cut"); cancel() })()
	err = errors.Join(err, f.web.Shutdown(end))
	if err := f.saveSessions(); err != nil {
		f.log.Warn("sessions not saved: the next start counts them anew", "error", err)
	}
	if f.gossip != nil {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye) // also when the drain took all its time
		defer cancel()
		_ = f.gossip.Leave(bye)
	}
	f.close()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		f.log.Warn("requests were cut at the end of the drain time", "setting", "proxy.timeouts.drain")
		err = nil
	case errors.Is(err, context.Canceled): // Ctrl-C again
		err = nil
	}
	return err
}

// close ends what is open, in the opposite order of its start.
func (f *frontDoor) close() {
	f.once.Do(func() {
		f.rest()
		if f.web != nil {
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			_ = f.web.Shutdown(ended)
		}
		if f.alone != nil {
			f.alone()
		}
		f.wg.Wait()
		if f.access != nil {
			_ = f.access.Close()
		}
		if f.certs != nil {
			f.certs.Close()
		}
		if f.catalog != nil {
			_ = f.catalog.Close()
		}
		f.sockets.Close()
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
