package catalog

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog/store"
	"portico/membership/catalog/store/peers"
)

// What proxies share a catalog by.
type (
	// Peers say how the proxies of a cluster reach one another's catalog.
	Peers = peers.Options
	// Joining is what a proxy needs to begin with the catalog of others: the answer of AddReplica.
	Joining = peers.Joining
	// Replica is one proxy's copy of the catalog, as it looks from here.
	Replica = store.Replica
	// Outside names an etcd that somebody else runs, to be used in place of the embedded one.
	Outside = store.Outside
)

// The roles of a replica.
const (
	ReplicaLeader  = store.ReplicaLeader
	ReplicaVoter   = store.ReplicaVoter
	ReplicaLearner = store.ReplicaLearner // has a copy and no vote
)

// joinTimeout is for a new proxy to have the whole catalog.
const joinTimeout = 2 * time.Minute

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
	case !m.acceptedProxy():
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
	return c.store.Load().AddReplica(ctx, name, m.Catalog)
}

func (m *Member) acceptedProxy() bool { return m.Admission == Accepted && m.Role == RoleProxy }

// loopback reports whether an address leads to its own machine only.
func loopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Replicas lists the proxies that have the catalog, by name, and asks each how far
// it is. It takes a second at most. While there is one proxy it names that; where
// the etcd is an outside one, nobody.
func (c *Catalog) Replicas(ctx context.Context) []Replica { return c.store.Load().Replicas(ctx) }

// HasLeader reports whether changes can be made: some proxy leads the catalog.
// Of an outside etcd only an attempt can tell.
func (c *Catalog) HasLeader() bool { return c.store.Load().HasLeader() }

// Part names this proxy's part in the shared catalog, for HasReplica of another.
// Both are empty where the etcd is an outside one.
func (c *Catalog) Part() (cluster, replica string) { return c.store.Load().Part() }

// HasReplica reports whether a proxy's part, as it names it, is one of this
// catalog. While this proxy has no majority itself the answer is yes.
func (c *Catalog) HasReplica(cluster, replica string) bool {
	return c.store.Load().HasReplica(cluster, replica)
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
		if err := c.store.Load().Err(); err != nil {
			return err
		}
	}
}

// present is the open store; nil while the folder is another process's.
func (c *Catalog) present() *store.Store {
	if c.suspended.Load() {
		return nil
	}
	return c.store.Load()
}

// maintain keeps the replicas of the catalog in step with the members, until Close.
func (c *Catalog) maintain() {
	changed, cancel := c.Subscribe()
	defer cancel()
	store.Maintain(c.ctx, c.present, changed, c.logger)
}

// proxies answers what the store asks of the members, as the view has them.
type proxies struct{ c *Catalog }

func (p proxies) Member(name string) store.Standing {
	v := p.c.View()
	if v == nil {
		return store.Standing{Unread: true}
	}
	m := v.Members[name]
	if m == nil {
		return store.Standing{}
	}
	return store.Standing{Found: true, Accepted: m.acceptedProxy(), Listens: m.Catalog != "", Fingerprint: m.Fingerprint}
}

func (p proxies) At(addr string) string {
	for _, m := range p.c.View().Members {
		if m.Catalog != "" && m.Catalog == addr {
			return m.Name
		}
	}
	return ""
}

func (p proxies) AcceptedNow(ctx context.Context, name string) (bool, error) {
	key := preMembers + name
	it, found, err := p.c.store.Load().Get(ctx, key, false)
	if err != nil || !found {
		return false, err
	}
	m, err := decode[Member](key, it.Value)
	return err == nil && m.acceptedProxy(), err
}

func (p proxies) Read() (revision int64, whole bool) {
	v := p.c.View()
	if v == nil {
		return 0, false
	}
	return v.Revision, v.ClusterID != ""
}
