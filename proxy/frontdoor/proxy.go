// Package frontdoor runs a proxy: its parts in the order in which they start, the loop that waits for what ends them, and the
// take-over by the next process on the same folder. It needs no process of its own: whoever has the options can run one.
package frontdoor

import (
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"portico/certs"
	"portico/conf"
	"portico/deployhook"
	"portico/deployhook/objects"
	"portico/internal/preflight"
	"portico/internal/takeover"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy"
	"portico/proxy/accesslog"
	"portico/proxy/admin"
	"portico/proxy/admin/proxies"
	"portico/proxy/frontdoor/succession"
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
	moved     chan proxies.Moved // sessions that moved and that other proxies are to be told of
	deployer  *deployhook.Deployer
	admin     *admin.Server
	listener  *adminListener
	local     minted     // what client.json is to hold
	served    chan error // gets what ended the traffic; nil: it has not begun

	succession  *succession.Machine   // between the process before this one and the next
	sockets     takeover.Sockets      // of the web and admin listeners
	adopted     bool                  // some of them came from the service manager
	predecessor *takeover.Predecessor // on the process that had the folder before; nil: none
	alone       context.CancelFunc    // ends waiting for what that leaves; nil: nobody waits

	inherited  chan struct{}          // closed when it has left all; nil: there was none
	silent     atomic.Bool            // it has left all: nothing of it or of one before it comes any more
	successors *succession.Successors // who wants the place next; nil: this kind of process is not taken over
	child      succession.Child       // a successor that this process has started

	working *working // what belongs to the catalog; nil: it is another process's
	wg      sync.WaitGroup
	once    sync.Once
}

// New opens everything and binds every port, once nobody else has the folder. A proxy that is to share the cluster of others
// waits until they let it, with the code if it has one. On an error nothing is left running.
func New(ctx context.Context, o Options) (_ *Proxy, err error) {
	p := &Proxy{options: o, conf: o.Conf, loaded: o.Conf, log: o.Logger, started: time.Now(), succession: succession.New(o.Logger), moved: make(chan proxies.Moved, maxRelocated)}
	p.sites.Store(&o.Conf.Sites)
	defer func() {
		if err != nil {
			p.Close()
			p.reportFailure(err)
			p.succession.Enter(succession.Ended)
		}
	}()
	if p.conf.Proxy.Name == "" {
		p.conf.Proxy.Name = membership.DefaultName()
	}
	if err := Preflight(o.Conf); err != nil {
		return nil, err
	}
	takePlace := p.awaitPredecessor
	if o.TakeOver {
		takePlace = p.succeed
	}
	if err := takePlace(ctx); err != nil {
		return nil, err
	}
	if err := p.tryAddresses(); err != nil {
		return nil, err
	}
	if err := p.open(ctx, p.joinCluster, p.openCatalog, p.enrol, p.openCerts, p.openWeb); err != nil {
		return nil, err
	}
	if p.predecessor == nil && !p.adopted {
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
	if p.predecessor != nil || p.adopted {
		return nil
	}
	if err := preflight.TryAddresses(Addresses(p.conf), p.conf.Dir); err != nil {
		return err
	}
	if err := Unjoinable(p.conf); err != nil {
		p.log.Warn("the catalog's address is taken", "error", err)
	}
	return nil
}

// beginTraffic serves visitors from now on. It may be called twice.
func (p *Proxy) beginTraffic(ctx context.Context) {
	if p.served != nil {
		return
	}
	p.served = make(chan error, 1)
	p.wg.Go(func() { p.served <- p.web.Serve(context.WithoutCancel(ctx)) })
}

// Run serves until ctx ends or another process has taken over, then stops outside in.
func (p *Proxy) Run(ctx context.Context) error {
	p.beginTraffic(ctx)
	p.startWork(ctx)
	p.awaitInheritance(ctx)
	p.invite()
	successor, err := p.succession.Serve(ctx, succession.Steps{
		TrafficEnded: p.served, WorkFailed: p.workFailed, Asked: p.successors.Next(),
		HandOver: p.handOver, ReopenCatalog: p.reopenCatalog,
	})
	if successor != nil {
		err = p.beLameDuck(ctx, successor)
	} else {
		err = p.stop(ctx, err)
	}
	p.succession.Enter(succession.Ended)
	return err
}

// Name is the name of this member.
func (p *Proxy) Name() string { return p.conf.Proxy.Name }

// Fingerprint is that of the cluster's authority.
func (p *Proxy) Fingerprint() string { return p.authority.Fingerprint() }

// Catalog is what the cluster agrees on.
func (p *Proxy) Catalog() *catalog.Catalog { return p.catalog }

// Addr is where a frontend listens, "" where it does not.
func (p *Proxy) Addr(frontend string) string {
	if a := p.web.Addr(frontend); a != nil {
		return a.String()
	}
	return ""
}

// AdminAddr is where the admin listener listens.
func (p *Proxy) AdminAddr() net.Addr { return p.listener.Addr() }

// InRotation reports whether an instance gets visitors.
func (p *Proxy) InRotation(instance string) bool { return p.web.InRotation(instance) }

// Invite makes a code with which a machine may join without being accepted.
func (p *Proxy) Invite(ctx context.Context, role catalog.Role, ttl time.Duration, by string) (membership.Invited, error) {
	return p.admission.Invite(ctx, role, ttl, by)
}
