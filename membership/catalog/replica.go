package catalog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"portico/internal/pause"
)

// Peers say how the proxies of a cluster reach one another's catalog. The names,
// keys and roles of those who may are the catalog's own: see Member.
type Peers struct {
	// Listen is the host:port to listen on. Nothing does while there is one proxy.
	Listen string

	// Advertise is the host:port that the others connect to.
	Advertise string

	// ServerTLS makes the server's side of mutual TLS, which asks check at each
	// handshake; ClientTLS the client's towards the proxy called name.
	ServerTLS func(check func(role Role, name, fingerprint string) error) *tls.Config
	ClientTLS func(name string, check func(role Role, name, fingerprint string) error) *tls.Config

	// Peer tells whose certificate a connection shows, which ServerTLS has verified.
	Peer func(tls.ConnectionState) (role Role, name, fingerprint string)

	// Cert, Key and CA are PEM files: what this proxy shows to the others, and the
	// cluster's authority. The first two are read at each connection.
	Cert, Key, CA string

	// Join is how to begin in an empty folder: with the catalog of others. Nil: a
	// new cluster. A folder that holds a catalog goes on with that.
	Join *Joining
}

// Joining is what a proxy needs to begin with the catalog of others: the answer
// of AddReplica.
type Joining struct {
	Members []string `json:"members"` // URLs of all who have the catalog, the new one among them
}

// What a shared catalog is set to, and why.
const (
	maxLearners = 8
	joinTimeout = 2 * time.Minute  // for a new proxy to have the whole catalog
	addTimeout  = 30 * time.Second // for the others to take it in; etcd wants them connected for 5 s
)

// Errors of sharing.
var (
	// ErrAlone reports a request that needs Options.Peers.
	ErrAlone = errors.New("this proxy shares its catalog with nobody")
	// ErrOutside reports that all proxies use an outside etcd.
	ErrOutside = errors.New("the catalog lies in an outside etcd")
)

// peerURL is how etcd names the proxy that listens at addr.
func peerURL(addr string) *url.URL { return &url.URL{Scheme: "https", Host: addr} }

// shareConfig sets what differs for proxies that share a catalog. The server does
// not listen itself, see peerServer.
func shareConfig(cfg *embed.Config, p *Peers) {
	cfg.TickMs = uint(sharedTick.Milliseconds())
	cfg.ElectionMs = uint(sharedElection.Milliseconds())
	cfg.MaxLearners = maxLearners
	cfg.PreVote = true
	cfg.PeerTLSInfo = transport.TLSInfo{CertFile: p.Cert, KeyFile: p.Key, TrustedCAFile: p.CA, MinVersion: tls.VersionTLS13}
	self := peerURL(p.Advertise)
	cfg.AdvertisePeerUrls = []url.URL{*self}
	cfg.InitialCluster = cfg.Name + "=" + self.String()
	if p.Join == nil {
		return
	}
	cfg.ClusterState = embed.ClusterStateFlagExisting
	for i, u := range p.Join.Members {
		if u != self.String() {
			cfg.InitialCluster += fmt.Sprintf(",other-%d=%s", i, u) // etcd goes by the addresses
		}
	}
}

// share makes this proxy's catalog reachable for the other proxies: it listens,
// takes the times that several need, and tells its address. The server begins
// another life for it, which changes wait for and traffic does not notice.
func (c *Catalog) share(ctx context.Context) error {
	if c.o.Peers == nil {
		return ErrAlone
	}
	if host, port, _ := net.SplitHostPort(c.o.Peers.Advertise); port == "0" || host == "" {
		return fmt.Errorf("%w: its catalog.address names no port that others could reach", ErrAlone)
	}
	c.sharing.Lock()
	defer c.sharing.Unlock()
	if c.store.Load().run.Load().peers == nil {
		if err := c.store.Load().restartShared(); err != nil {
			return err
		}
		c.logger.Info("the catalog is shared from now on", "address", c.o.Peers.Advertise)
	}
	return c.tellAddress(ctx)
}

// firstShared prepares for the first view where other proxies have the catalog too:
// what this one's files say is enough to know whom to let in. A new proxy has no
// such files and waits for those of the others.
func (c *Catalog) firstShared(ctx context.Context) error {
	view, err := c.load(ctx, true)
	if err != nil {
		return err
	}
	if view.ClusterID != "" {
		c.view.CompareAndSwap(nil, view)
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, joinTimeout, fmt.Errorf("the other proxies did not hand over the catalog within %s: look whether they reach this one at %s", joinTimeout, c.o.Peers.Advertise))
	defer cancel()
	for {
		if view, err := c.load(ctx, false); err == nil && view.ClusterID != "" {
			return nil
		}
		if err := pause.For(ctx, 100*time.Millisecond); err != nil {
			return context.Cause(ctx)
		}
		if err := c.store.Load().err(); err != nil {
			return err
		}
	}
}

// tellAddress makes the address that the others have for this proxy the right one.
func (c *Catalog) tellAddress(ctx context.Context) error {
	server, want := c.store.Load().run.Load().etcd.Server, peerURL(c.o.Peers.Advertise).String()
	self := server.Cluster().Member(server.MemberID())
	if self == nil || slices.Equal(self.PeerURLs, []string{want}) {
		return nil
	}
	return c.store.Load().do(ctx, func(ctx context.Context) error {
		_, err := c.store.Load().client().MemberUpdate(ctx, uint64(server.MemberID()), []string{want})
		return err
	})
}

// restartShared ends the server and begins another life of it, with peers.
func (s *store) restartShared() error {
	peers, err := s.listenPeers()
	if err != nil {
		return err
	}
	if !s.use.TryRLock() {
		peers.close()
		return ErrClosed
	}
	defer s.use.RUnlock()
	s.gate.Lock()
	defer s.gate.Unlock()
	s.run.Load().stop()
	r, err := s.start(peers)
	if err != nil {
		s.fail(err.Error()) // nothing is acknowledged; the traffic goes on
		return err
	}
	s.run.Store(r)
	return nil
}

// AddReplica makes room for another proxy: an accepted member, which gets what it
// needs to start. It may be called again for the same one, which then begins anew.
// The proxy that calls it becomes reachable for others if it was the only one.
func (c *Catalog) AddReplica(ctx context.Context, name string) (Joining, error) {
	j, err := c.addReplica(ctx, name)
	if err != nil {
		return Joining{}, fmt.Errorf("add proxy %q to the catalog: %w", name, err)
	}
	return j, nil
}

func (c *Catalog) addReplica(ctx context.Context, name string) (j Joining, err error) {
	m := c.View().Members[name]
	switch {
	case m == nil:
		return j, ErrNotFound
	case m.Admission != Accepted || m.Role != RoleProxy:
		return j, fmt.Errorf("%w: it is no accepted proxy", ErrConflict)
	case m.Catalog == "":
		return j, fmt.Errorf("%w: it has not told where its catalog listens", ErrInvalid)
	case c.o.Outside != nil:
		return j, ErrOutside
	case c.o.Peers == nil:
		return j, ErrAlone
	case loopback(c.o.Peers.Advertise) && !loopback(m.Catalog):
		return j, fmt.Errorf("%w: the catalog of this proxy is at %s, where no other machine reaches it: set catalog.address to :7445 there and restart it", ErrConflict, c.o.Peers.Advertise)
	case name == c.o.Name:
		return j, fmt.Errorf("%w: it is this proxy", ErrConflict)
	}
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	if err := c.share(ctx); err != nil {
		return j, err
	}
	unlock, err := c.Lock(ctx, "replicas")
	if err != nil {
		return j, err
	}
	defer unlock()
	u := peerURL(m.Catalog).String()
	old, err := c.memberList(ctx)
	if err != nil {
		return j, err
	}
	for _, e := range old {
		if e.Name == name || slices.Contains(e.PeerURLs, u) {
			if err := c.removeReplica(ctx, e.ID); err != nil {
				return j, err
			}
		}
	}
	err = c.patiently(ctx, func(ctx context.Context) error {
		r, err := c.store.Load().client().MemberAddAsLearner(ctx, []string{u})
		if err == nil {
			for _, e := range r.Members {
				j.Members = append(j.Members, e.PeerURLs...)
			}
		}
		return err
	})
	if err == nil {
		c.logger.Info("proxy added to the catalog", "member", name, "address", m.Catalog)
	}
	return j, err
}

// loopback reports whether an address leads to its own machine only.
func loopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (c *Catalog) memberList(ctx context.Context) (list []*etcdserverpb.Member, err error) {
	err = c.store.Load().read(ctx, func(ctx context.Context) error {
		r, err := c.store.Load().client().MemberList(ctx)
		if err == nil {
			list = r.Members
		}
		return err
	})
	return list, err
}

// noMember is what etcd says of a member that is not there, or not any more.
const noMember = "member not found"

func (c *Catalog) removeReplica(ctx context.Context, id uint64) error {
	return c.patiently(ctx, func(ctx context.Context) error {
		_, err := c.store.Load().client().MemberRemove(ctx, id)
		if err != nil && strings.Contains(err.Error(), noMember) {
			return nil
		}
		return err
	})
}

// patiently repeats a change of who has the catalog: etcd refuses it until the
// others have been connected for 5 s, and gives who comes back within the second the
// number that was just taken away.
func (c *Catalog) patiently(ctx context.Context, op func(context.Context) error) error {
	for {
		err := c.store.Load().do(ctx, op)
		if err == nil || !strings.Contains(err.Error(), "unhealthy cluster") && !strings.Contains(err.Error(), noMember) {
			return err
		}
		if pause.For(ctx, 250*time.Millisecond) != nil {
			return err
		}
	}
}

// admit decides at each handshake who may speak with this proxy's catalog: the
// accepted proxies, with the keys that they were accepted with. Never an
// application server: its certificate is as genuine as a proxy's.
//
// A proxy that has none of the catalog yet, or was away while another one joined,
// does not know everybody. While it has no leader, or one that it has never heard
// of, it lets other strangers in too, since one of them has what it lacks; their
// certificate says that they are proxies, and the others have let them in.
func (s *store) admit(role Role, name, fingerprint string) error {
	if role != RoleProxy {
		return fmt.Errorf("%s %q may not speak with the catalog: it is for proxies", role, name)
	}
	v := s.view()
	if v == nil {
		return nil
	}
	m := v.Members[name]
	if m == nil {
		if !s.led() || s.strangerLeads(v) {
			return nil
		}
		return fmt.Errorf("proxy %q is not known", name)
	}
	if m.Admission != Accepted || m.Role != RoleProxy || m.Catalog == "" || m.Fingerprint != fingerprint {
		return fmt.Errorf("proxy %q is not accepted with this key", name)
	}
	return nil
}

// strangerLeads reports whether the view does not know who leads.
func (s *store) strangerLeads(v *View) bool {
	server := s.run.Load().etcd.Server
	m := server.Cluster().Member(server.Leader())
	return m == nil || m.Name != "" && v.Members[m.Name] == nil
}

// valid refuses what cannot work.
func (p *Peers) valid() error {
	for what, addr := range map[string]string{"listen": p.Listen, "advertise": p.Advertise} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%w: %q is no address to %s", ErrInvalid, addr, what)
		}
	}
	for _, path := range []string{p.Cert, p.Key, p.CA} {
		if path == "" {
			return fmt.Errorf("%w: the files of the own certificate are not named", ErrInvalid)
		}
	}
	return nil
}
