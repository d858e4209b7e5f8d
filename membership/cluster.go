package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"portico/membership/catalog"
)

// Options say who this member is and how it gossips.
type Options struct {
	Name        string       // unique in the cluster, letters, digits, hyphens and dots
	Role        catalog.Role // what it does
	ID          string       // random, made by the machine
	Fingerprint string       // SHA-256 of its public key, hexadecimal
	Version     string       // of the program

	// Bind is the host:port for TCP and UDP. Port 0 takes a free one.
	Bind string

	// Advertise is the host or host:port that others are told. Empty: Bind, and
	// for a wildcard see Advertised.
	Advertise string

	// Keys encrypt gossip, 32 bytes each, the first one ours. At least one:
	// there is no gossip in the clear.
	Keys [][]byte

	// Dir keeps the list of members known last, so that a restarted member
	// finds the others by itself. Empty: nothing is kept.
	Dir string

	// Seeds returns gossip addresses (host:port) of members to join. It is
	// asked at the start and again whenever nobody else is alive. Nil: only
	// Join and the kept list.
	Seeds func() []string

	// Admit reports whether a member of that name and key belongs to the
	// cluster; others are kept out of the list. It is called often, and must
	// answer from memory and not call back. Nil: whoever holds the key.
	//
	// It keeps the list clean and is no gate: the gate is the key.
	Admit func(name, fingerprint string) bool

	Logger *slog.Logger // nil: nothing is logged
}

// Cluster is this member's part in the gossip.
type Cluster struct {
	options   Options
	log       *slog.Logger
	serf      *serf.Serf
	transport *transport
	ring      *ring
	events    chan serf.Event
	nudges    *nudges
	hub       hub
	snapshot  *snapshot

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	leaving sync.WaitGroup // a goodbye that is being said
	once    sync.Once

	mu   sync.Mutex
	left bool
}

// ErrNoKey reports Options without a gossip key.
var ErrNoKey = errors.New("gossip without a key is refused")

// New begins to gossip: the ports are bound and Members answers when it
// returns. The caller ends it with Close, after Leave if the member means to
// stay away.
func New(ctx context.Context, o Options) (*Cluster, error) {
	if len(o.Keys) == 0 {
		return nil, fmt.Errorf("start gossip: %w", ErrNoKey)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ring, err := newRing(o.Keys)
	if err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	t, err := newTransport(o.Bind, o.Logger, ring.keys)
	if err != nil {
		return nil, fmt.Errorf("start gossip on %s: %w: stop what has the port (a portico that is just ending keeps it a moment), or choose another address with --gossip (gossip.address)", o.Bind, err)
	}
	c := &Cluster{
		options: o, log: o.Logger, transport: t, ring: ring,
		events: make(chan serf.Event, 256), // serf waits when it is full
		nudges: newNudges(),
	}
	if err := c.start(ctx); err != nil {
		_ = t.Shutdown()
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	host, _, err := net.SplitHostPort(c.options.Bind)
	if err != nil {
		return err
	}
	bound := net.JoinHostPort(host, strconv.Itoa(c.transport.port()))
	addr, why, err := Advertised(ctx, c.options.Advertise, bound, c.seeds())
	if err != nil {
		return err
	}
	if c.transport.advertise, err = resolve(ctx, addr); err != nil {
		return err
	}
	if c.snapshot, err = openSnapshot(c.options.Dir); err != nil {
		return err
	}
	if c.serf, err = serf.Create(c.config()); err != nil {
		return err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.wg.Go(c.follow)
	c.wg.Go(c.guardKeys)
	c.wg.Go(func() { c.nudges.run(c.ctx, c.sendRevision) })
	c.wg.Go(c.keepJoined)
	c.wg.Go(func() { c.snapshot.run(c.ctx, c.othersAlive, c.log) })
	c.log.Info("gossip started", "bound", bound, "advertised", c.transport.advertise.String(), "found", why)
	return nil
}

const (
	// gossipEvery is between two rounds of what is new, also where nothing is: each wakes every member.
	gossipEvery = time.Second
	// askEvery is between two questions of a member whether another one lives; each wakes both, and is most of what gossip costs at rest. A
	// member that answers none is suspected within two of them, and given up askSuspicion of them later, ten seconds after its end. Where
	// there are more than ten members, memberlist waits longer for one who agrees, by the decimal logarithm of their number: twice as long
	// among a hundred, so that it is sixteen seconds there.
	askEvery     = 2 * time.Second
	askSuspicion = 3
)

// config is serf's, with what it would do by default and we never want turned
// off: name conflict resolution (a forged "alive" would end the real member),
// coordinates, keys from gossip, metrics, its file of members (see snapshot).
func (c *Cluster) config() *serf.Config {
	logger := newLogger(c.log)
	m := memberlist.DefaultLANConfig()
	if c.transport.advertise.Addr().IsLoopback() {
		m = memberlist.DefaultLocalConfig() // the same protocol, less patient
	}
	// Agents hold a question to a proxy open that is answered with each change, and whoever falls silent is probed; gossip is the second way
	// for both. So it may rest for as long as memberlist's own settings for wide networks do, and then tells as many.
	m.GossipInterval, m.GossipNodes = gossipEvery, 4
	m.ProbeInterval, m.SuspicionMult = askEvery, askSuspicion
	m.Logger, m.LogOutput = logger, nil
	m.Transport = c.transport
	m.Keyring = c.ring.ring
	m.GossipVerifyIncoming, m.GossipVerifyOutgoing = true, true
	m.BindAddr = c.transport.advertise.Addr().String()
	m.BindPort = c.transport.port()
	m.AdvertiseAddr = m.BindAddr
	m.AdvertisePort = int(c.transport.advertise.Port())
	m.DeadNodeReclaimTime = 30 * time.Second // a member may come back with another address
	m.TCPTimeout = 5 * time.Second

	s := serf.DefaultConfig()
	s.Init()
	s.NodeName = c.options.Name
	s.Tags = tagsOf(c.options)
	s.Logger, s.LogOutput = logger, nil
	s.MemberlistConfig = m
	s.EventCh = c.events
	s.EnableNameConflictResolution = false
	s.DisableCoordinates = true
	s.ValidateNodeNames = true
	s.UserEventSizeLimit = 128 // a revision needs 20 bytes
	s.EventBuffer, s.QueryBuffer = 64, 64
	s.MaxQueueDepth = 1024
	s.Merge = admitDelegate{c}
	return s
}

// admitDelegate keeps strangers out of the list. Serf asks it for each "alive"
// message with one member, and once for a whole list that another member sent;
// a list is not refused for one stranger in it, since each entry is asked for
// again.
type admitDelegate struct{ c *Cluster }

// NotifyMerge implements serf.MergeDelegate.
func (d admitDelegate) NotifyMerge(members []*serf.Member) error {
	if len(members) != 1 {
		return nil
	}
	m := members[0]
	if !d.c.admits(m.Name, m.Tags[tagFingerprint]) {
		return fmt.Errorf("member %q with key %.16q is not accepted", m.Name, m.Tags[tagFingerprint])
	}
	return nil
}

func (c *Cluster) admits(name, fingerprint string) bool {
	if name == c.options.Name {
		// An "alive" for our own name is ours, or else serf refutes it.
		return fingerprint == c.options.Fingerprint
	}
	return c.options.Admit == nil || c.options.Admit(name, fingerprint)
}

// Addr returns the host:port that others are told.
func (c *Cluster) Addr() string { return c.transport.advertise.String() }

// Joined says what came of a Join.
type Joined struct {
	UDPBlocked []string // addresses that answered over TCP and not over UDP
}

// Join contacts members at gossip addresses (host:port). It fails when none of
// them answers. A member that answers over TCP only is reported and logged: it
// needs its port opened for UDP as well.
func (c *Cluster) Join(ctx context.Context, addrs []string) (Joined, error) {
	others := slices.DeleteFunc(slices.Clone(addrs), func(a string) bool { return a == c.Addr() })
	if len(others) == 0 {
		return Joined{}, nil
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	c.wg.Go(func() { // serf's Join knows no context; its timeouts end it
		n, err := c.serf.Join(others, true)
		done <- result{n, err}
	})
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		return Joined{}, fmt.Errorf("join gossip: %w", ctx.Err())
	}
	if r.n == 0 && r.err != nil {
		return Joined{}, fmt.Errorf("join gossip at %v: %w", others, r.err)
	}
	j := Joined{UDPBlocked: c.testUDP(ctx, others)}
	for _, a := range j.UDPBlocked {
		c.log.Warn("gossip over UDP does not get through: open the port for UDP as well as TCP, or this member will be taken for dead now and then",
			"member", a, "local", c.Addr())
	}
	return j, nil
}

// testUDP returns those of addrs that take our TCP and send no echo over UDP.
func (c *Cluster) testUDP(ctx context.Context, addrs []string) []string {
	blocked := make([]bool, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() {
			to, err := resolve(ctx, a)
			if err != nil || c.transport.selfTest.reaches(ctx, to) || ctx.Err() != nil {
				return
			}
			blocked[i] = dials(ctx, to)
		})
	}
	wg.Wait()
	var out []string
	for i, a := range addrs {
		if blocked[i] {
			out = append(out, a)
		}
	}
	return out
}

func dials(ctx context.Context, to netip.AddrPort) bool {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func (c *Cluster) seeds() []string {
	if c.options.Seeds == nil {
		return nil
	}
	return c.options.Seeds()
}

// keepJoined joins the seeds and the members known last whenever nobody else is alive: at the start, after
// the network was away for longer than serf tries, after a rotation of keys
// that this member slept through.
func (c *Cluster) keepJoined() {
	pause := time.Duration(0)
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(pause + rand.N(pause/4+1)):
		}
		pause = 10 * time.Second
		if c.hasLeft() || c.alive() > 1 {
			continue
		}
		ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
		if _, err := c.Join(ctx, c.snapshot.with(c.seeds(), c.admits)); err != nil && c.ctx.Err() == nil {
			c.log.Info("no other member answers gossip, trying again", "error", err)
		}
		cancel()
	}
}

func (c *Cluster) alive() int {
	n := 0
	for _, m := range c.serf.Members() {
		if m.Status == serf.StatusAlive {
			n++
		}
	}
	return n
}

// othersAlive returns the members that are there, proxies first, without this one.
func (c *Cluster) othersAlive() []snapshotMember {
	var proxies, rest []snapshotMember
	for _, m := range c.Members() {
		switch {
		case m.Status != StatusAlive || m.Name == c.options.Name:
		case m.Role == catalog.RoleProxy:
			proxies = append(proxies, snapshotMember{m.Name, m.Fingerprint, m.Addr})
		default:
			rest = append(rest, snapshotMember{m.Name, m.Fingerprint, m.Addr})
		}
	}
	return append(proxies, rest...)
}

// Members returns all members that gossip knows and Admit allows, this one
// included, by name.
func (c *Cluster) Members() []Node {
	list := c.serf.Members()
	nodes := make([]Node, 0, len(list))
	for _, m := range list {
		n := nodeOf(m)
		if c.admits(n.Name, n.Fingerprint) {
			nodes = append(nodes, n)
		}
	}
	sortNodes(nodes)
	return nodes
}

// Forget drops a member from the list before its time, after it was revoked or
// removed.
func (c *Cluster) Forget(name string) {
	if name == c.options.Name {
		return
	}
	if err := c.serf.RemoveFailedNodePrune(name); err != nil {
		c.log.Debug("forget member", "member", name, "error", err)
	}
}

// Leave says goodbye, so that the others do not wait for an answer. It takes
// about half a second, and at most as long as ctx lasts.
func (c *Cluster) Leave(ctx context.Context) error {
	c.mu.Lock()
	again := c.left
	c.left = true
	c.mu.Unlock()
	if again {
		return nil
	}
	done := make(chan error, 1)
	c.leaving.Go(func() { done <- c.serf.Leave() })
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("leave gossip: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave gossip: %w", ctx.Err())
	}
}

func (c *Cluster) hasLeft() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// Close ends the gossip without a goodbye and waits until all of ours has
// stopped. It may be called twice.
func (c *Cluster) Close() error {
	var err error
	c.once.Do(func() {
		c.cancel()
		c.leaving.Wait() // serf does not stand the one beside the other
		err = c.serf.Shutdown()
		c.wg.Wait()
		c.hub.close()
	})
	if err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}
