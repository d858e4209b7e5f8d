// Package proxy is the data path: it accepts connections, finds the site of each
// request, sends it to the instance that holds the visitor's session, and
// accounts for what happened.
//
// It promises that a request means the same to the instance as to portico, that
// an answer that was cut never looks whole, that nothing which might have had an
// effect is sent twice, and that a change of the catalog never disturbs a
// request that runs. It knows nothing of certificates, membership or deploys:
// the command hands it a TLS configuration and a feed of catalog views.
//
// A driver of package http1 moves HTTP/1 and HTTP/2: event loops on Linux (package
// loop), a goroutine for each connection elsewhere (package conn). Routing, stickiness,
// forwarding headers and accounting are behind it, once, and know neither.
package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/conf"
	"portico/internal/pause"
	"portico/membership/catalog"
	"portico/proxy/accesslog"
	"portico/proxy/clock"
	"portico/proxy/explain"
	"portico/proxy/forward"
	"portico/proxy/http1"
	"portico/proxy/listen"
	"portico/proxy/origin"
	"portico/proxy/probe"
	"portico/proxy/recent"
	"portico/proxy/route"
	"portico/proxy/site"
)

// Options are what a Server is made of.
type Options struct {
	// Conf is the [proxy] section. Zero timeouts and limits mean the defaults of
	// conf.Default; empty addresses are not listened on.
	Conf conf.Proxy

	// Keys are the cluster's session keys, newest first. Required.
	Keys []seal.Key

	// TLS serves the certificates of the sites. It is needed when Conf.HTTPS is
	// set; a copy is used, with h2 and http/1.1 added to its protocols.
	TLS *tls.Config

	// HasCertificate reports whether TLS could serve a host: then plain HTTP is
	// redirected. Nil: never.
	HasCertificate func(host string) bool

	// Challenge answers /.well-known/acme-challenge/ on plain HTTP and passes
	// everything else to next. Nil: such paths go to the sites.
	Challenge func(next http.Handler) http.Handler

	// AgentTLS returns the client configuration for connections to a member's
	// agent; the proxy sets the ServerName to "INSTANCEID.instance". It must
	// verify that the other end is that member. Nil: agents cannot be reached.
	AgentTLS func(member string) *tls.Config

	// Listen binds the TCP address of "http" or "https", for whoever has its socket
	// already. Nil: net.Listen.
	Listen func(name, address string) (net.Listener, error)

	// Moved is told of each session that was lost where it was and is on another
	// instance from now on. It must not wait. Nil: nobody wants to know.
	Moved func(session uint64, instance string)

	// AccessLog gets a line for each request. Nil: none. The Server does not
	// close it.
	AccessLog *accesslog.Log

	// Logger gets what operators should see. Nil: slog.Default.
	Logger *slog.Logger
}

// Server is the front door. Its methods are safe for concurrent use.
type Server struct {
	o       Options
	log     *slog.Logger
	limits  http1.Limits
	trusted []netip.Prefix
	spoken  []netip.Prefix // who speaks the PROXY protocol
	bal     *balancer.Balancer
	table   atomic.Pointer[site.Table]
	recent  *recent.Exchanges
	origins origin.Set
	probes  *probe.Prober
	started time.Time
	clock   *clock.Watch

	tls       *tls.Config
	listeners []*listen.Listener
	engine    *engine
	plain     listen.Traffic
	secure    listen.Traffic
	front     route.Front // complete once Listen has succeeded
	perAddr   listen.PerAddress
	handler   *forward.Handler

	updates sync.Mutex // one change of the table at a time
	view    *catalog.View
	statics []conf.Site                      // of the configuration file
	static  map[string]*conf.Site            // the same, by name
	agents  map[string]catalog.InstanceState // what the agents said last, by instance id

	// since is when this proxy first heard of an instance, Unix milliseconds. Those of its first view have no entry: they
	// are older than its table of sessions. The clocks of other machines have no say in that.
	since map[string]int64

	stopping  atomic.Bool
	beginning sync.Mutex         // held while Serve begins, and while stopping changes
	bound     atomic.Bool        // Listen has succeeded; listeners do not change after it
	stop      context.CancelFunc // ends background work
	bg        context.Context
	wg        sync.WaitGroup
	once      sync.Once
}

// New returns a Server that does not listen yet. It already takes updates, so
// that the first connection finds its site.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Listen == nil {
		o.Listen = func(_, address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	o.Conf = withDefaults(o.Conf)
	bal, err := balancer.New(balancer.Options{Keys: o.Keys, MaxSessions: o.Conf.Limits.Sessions, Changed: probe.LogChanges(o.Logger)})
	if err != nil {
		return nil, fmt.Errorf("make proxy: %w", err)
	}
	s := &Server{o: o, log: o.Logger, bal: bal, recent: recent.New(o.Conf.Recent), started: time.Now()}
	s.agents, s.since = map[string]catalog.InstanceState{}, map[string]int64{}
	if s.trusted, err = conf.Prefixes(o.Conf.TrustedProxies); err != nil {
		return nil, fmt.Errorf("make proxy: proxy.trusted_proxies: %w", err)
	}
	if s.spoken, err = conf.Prefixes(o.Conf.ProxyProtocol); err != nil {
		return nil, fmt.Errorf("make proxy: proxy.proxy_protocol: %w", err)
	}
	if o.Conf.HTTPS != "" {
		if o.TLS == nil {
			return nil, errors.New("make proxy: proxy.https is set, but there is no TLS configuration")
		}
		s.tls = listen.ServerTLS(o.TLS, func(host string) bool { return s.table.Load().Private(host) })
	}
	s.clock = clock.New(bal, o.Logger)
	s.origins.Connect, s.origins.MaxIdle, s.origins.AgentTLS = o.Conf.Timeouts.Connect.Std(), o.Conf.Connections.Idle, o.AgentTLS
	s.front = route.Front{TLS: s.tls != nil, HasCertificate: o.HasCertificate}
	l := o.Conf.Limits
	s.limits = http1.Limits{
		Line: int(l.Line), Head: int(l.Header), Fields: l.Fields, ResponseHead: int(l.ResponseHeader),
	}.WithDefaults()
	s.plain.Name, s.secure.Name = "http", "https"
	s.table.Store(site.NewTable())
	s.bg, s.stop = context.WithCancel(context.Background())
	s.probes = probe.New(s.bg, s.log, func() int64 { return s.clock.Millis(time.Now()) })
	s.handler = &forward.Handler{
		Table: &s.table, Front: &s.front, Balancer: bal, Origins: &s.origins, Probes: s.probes, Clock: s.clock, Recent: s.recent,
		AccessLog: o.AccessLog, Log: s.log, Retries: o.Conf.Retries, Tunnel: o.Conf.Timeouts.Tunnel.Std(), Trusted: s.trusted, Moved: o.Moved,
	}
	if o.Challenge != nil {
		s.handler.Challenge = o.Challenge(http.HandlerFunc(http.NotFound))
	}
	s.wg.Go(s.tick)
	return s, nil
}

// withDefaults fills in what a hand-made section leaves out.
func withDefaults(c conf.Proxy) conf.Proxy {
	d := conf.Default().Proxy
	t, l := &c.Timeouts, &c.Limits
	t.Header, t.Idle, t.Body = cmp.Or(t.Header, d.Timeouts.Header), cmp.Or(t.Idle, d.Timeouts.Idle), cmp.Or(t.Body, d.Timeouts.Body)
	t.Connect, t.Response = cmp.Or(t.Connect, d.Timeouts.Connect), cmp.Or(t.Response, d.Timeouts.Response)
	t.Tunnel, t.Tunnels, t.Drain = cmp.Or(t.Tunnel, d.Timeouts.Tunnel), cmp.Or(t.Tunnels, d.Timeouts.Tunnels), cmp.Or(t.Drain, d.Timeouts.Drain)
	l.Header, l.Line, l.Fields = cmp.Or(l.Header, d.Limits.Header), cmp.Or(l.Line, d.Limits.Line), cmp.Or(l.Fields, d.Limits.Fields)
	l.ResponseHeader = cmp.Or(l.ResponseHeader, d.Limits.ResponseHeader)
	if c.Connections == (conf.ProxyConnections{}) {
		c.Connections = d.Connections
	}
	return c
}

// tick does what time asks for, until the Server stops.
func (s *Server) tick() {
	t := pause.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.bg.Done():
			return
		case now := <-t.C:
			t.Next()
			ms := s.clock.Millis(now)
			s.handler.LongLived.Keep(now, ms)
			s.bal.Tick(ms)
			for _, st := range s.table.Load().Sites() {
				st.Sweep(now)
			}
		}
	}
}

// SetKeys replaces the session keys, newest first. Each begins and ends at its time.
func (s *Server) SetKeys(keys []seal.Key) error {
	return s.bal.SetKeys(keys, s.clock.Millis(time.Now()))
}

// Now is the time of day, which the balancer may be asked by: it has been told if the clock was set.
func (s *Server) Now() time.Time { return s.clock.Now() }

// Balancer returns the pools, for whoever lists, moves or ends sessions.
func (s *Server) Balancer() *balancer.Balancer { return s.bal }

// Explain says step by step where a request would go now, and why, and changes nothing.
func (s *Server) Explain(a explain.Ask) ([]explain.Step, error) { return explain.Request(s.handler, a) }

// Streams is how many answers go on for as long as somebody looks: upgraded connections and event streams.
func (s *Server) Streams() int { return s.handler.LongLived.Count() }

// Ready reports whether the front door is open: bound, and not closing.
func (s *Server) Ready() bool { return s.bound.Load() && !s.stopping.Load() }

// Serve accepts connections until Shutdown, or until ctx ends, which is the same
// as a Shutdown with the configured drain time. Listen must have succeeded.
func (s *Server) Serve(ctx context.Context) error {
	if !s.bound.Load() {
		return errors.New("serve: Listen was not called")
	}
	if !s.begin() {
		return nil
	}
	served := make(chan error, 1)
	go func() { served <- s.engine.driver.Serve(context.Background()) }()
	select {
	case err := <-served:
		if err != nil {
			return fmt.Errorf("serve: engine %q: %w", s.o.Conf.Engine, err)
		}
		return nil
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Conf.Timeouts.Drain.Std())
	defer cancel()
	err := s.Shutdown(drain)
	<-served //nolint:errcheck // Shutdown has told what went wrong
	return err
}

// begin lets the engine accept, unless Shutdown has come before it.
func (s *Server) begin() bool {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if s.stopping.Load() {
		return false
	}
	s.engine.started.Store(true)
	return true
}

// Shutdown closes the front door from the outside in: Ready turns false, no
// connection is accepted any more, idle ones are closed, requests and upgraded
// connections may finish until ctx ends, and what is left then is cut. It returns
// ctx's error if something had to be cut. It may be called twice.
func (s *Server) Shutdown(ctx context.Context) error {
	var err error
	s.once.Do(func() {
		s.beginning.Lock() // what begins has begun by then, or never will
		s.stopping.Store(true)
		s.beginning.Unlock()
		for _, l := range s.listeners {
			_ = l.Close()
		}
		if s.engine != nil {
			err = s.engine.shutdown(ctx)
		}
		s.stop()
		s.probes.Close()
		s.wg.Wait()
		s.handler.Wait()
		s.origins.Close()
		for _, st := range s.table.Load().Sites() {
			st.Unregister()
		}
		if err != nil {
			err = fmt.Errorf("shut down proxy: requests were still running: %w", err)
		}
	})
	return err
}
