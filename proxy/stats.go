package proxy

import (
	"io"
	"sync/atomic"
	"time"

	"portico/balancer"
)

// frontend counts the traffic of one listener.
type frontend struct {
	name string
	addr string // bound address; set by Listen

	conns, connsMax        atomic.Int64
	connTotal, deniedConns atomic.Uint64
	h1                     atomic.Uint64 // connections, those that speak HTTP/2 as well
	requests, h1req, h2req atomic.Uint64
	bytesIn, bytesOut      atomic.Uint64
	denied, bad, own       atomic.Uint64 // refused by a rule, unreadable, answered by portico
	status                 [6]atomic.Uint64
	connRate, reqRate      balancer.Rate
}

// open counts a new connection and returns how many there are.
func (f *frontend) open(now time.Time) int64 {
	f.connTotal.Add(1)
	f.connRate.Add(now.UnixMilli())
	n := f.conns.Add(1)
	for m := f.connsMax.Load(); n > m && !f.connsMax.CompareAndSwap(m, n); m = f.connsMax.Load() {
	}
	return n
}

// FrontendSnapshot is the traffic of one listener at one moment.
type FrontendSnapshot struct {
	Name string // "http", "https"
	Addr string // host:port that it listens on

	Conns, ConnsMax, ConnsLimit int // client connections now, most, limit (0: none)
	ConnTotal                   uint64
	ConnRate, ConnRateMax       float64 // connections a second
	Requests                    uint64
	ReqRate, ReqRateMax         float64 // requests a second
	BytesIn, BytesOut           uint64
	Denied, DeniedConns         uint64 // refused by a rule
	Errors                      uint64 // requests that could not be read
	Intercepted                 uint64 // answered by the proxy itself

	Status1xx, Status2xx, Status3xx   uint64
	Status4xx, Status5xx, StatusOther uint64
	H1Sessions, H2Sessions            uint64
	H1Requests, H2Requests            uint64
}

func (f *frontend) snapshot(limit int, now int64) FrontendSnapshot {
	return FrontendSnapshot{
		Name: f.name, Addr: f.addr,
		Conns: int(f.conns.Load()), ConnsMax: int(f.connsMax.Load()), ConnsLimit: limit,
		ConnTotal: f.connTotal.Load(), ConnRate: f.connRate.PerSecond(now), ConnRateMax: float64(f.connRate.Max()),
		Requests: f.requests.Load(), ReqRate: f.reqRate.PerSecond(now), ReqRateMax: float64(f.reqRate.Max()),
		BytesIn: f.bytesIn.Load(), BytesOut: f.bytesOut.Load(),
		Denied: f.denied.Load(), DeniedConns: f.deniedConns.Load(), Errors: f.bad.Load(), Intercepted: f.own.Load(),
		Status1xx: f.status[1].Load(), Status2xx: f.status[2].Load(), Status3xx: f.status[3].Load(),
		Status4xx: f.status[4].Load(), Status5xx: f.status[5].Load(), StatusOther: f.status[0].Load(),
		H1Sessions: f.h1.Load(), H1Requests: f.h1req.Load(), H2Requests: f.h2req.Load(),
	}
}

// counted adds what the driver counts of connections over TLS.
func (e *engine) counted(f *FrontendSnapshot) {
	st := e.driver.Stats()
	f.H2Sessions = st.HTTP2
	f.H1Sessions -= min(f.H1Sessions, st.HTTP2)
	f.DeniedConns += st.Denied
	f.Errors += st.BadTLS
}

// Snapshot is the traffic of the process at one moment.
type Snapshot struct {
	At        time.Time
	Started   time.Time // of the process
	Revision  int64     // of the catalog view that routes
	Frontends []FrontendSnapshot
	Pools     []balancer.PoolSnapshot // by name
	Tunnels   int                     // upgraded connections open
	LogLost   uint64                  // lines of the access log that were dropped
	Panics    uint64
}

// Snapshot returns what pages, CSV, JSON and metrics show.
func (s *Server) Snapshot() Snapshot {
	now := time.Now()
	ms := s.clock.Millis(now)
	t := s.table.Load()
	out := Snapshot{
		At: now, Started: s.started, Revision: t.Revision, Tunnels: int(s.engineTunnels.Load()),
		LogLost: s.o.AccessLog.Lost(), Panics: s.panics.Load(),
	}
	for _, name := range t.Names {
		out.Pools = append(out.Pools, t.Sites[name].State.Pool.Snapshot(ms))
	}
	if !s.bound.Load() {
		return out
	}
	for _, l := range s.listeners {
		out.Frontends = append(out.Frontends, l.front.snapshot(s.o.Conf.Limits.Connections, ms))
		if l.tls != nil { // only there a client says what it speaks
			s.engine.counted(&out.Frontends[len(out.Frontends)-1])
		}
	}
	return out
}

// Load returns the live sessions and the running requests of an instance, both 0
// for one that is not served. While known is false there may be more sessions: this
// proxy started after the instance did and has not met all its visitors yet, or it has no
// sites at all yet. Nobody may stop an instance on its word then.
func (s *Server) Load(instanceID string) (sessions, inflight int, known bool) {
	t := s.table.Load()
	p, ok := t.ByID[instanceID]
	if !ok {
		return 0, 0, t.Revision > 0
	}
	return p.Site.State.Pool.Load(instanceID, s.clock.Millis(time.Now()))
}

// Failed returns why visitors lose their sessions at an instance because it does not
// work here any more, as SessionLostHeader tells them, or "".
func (s *Server) Failed(instanceID string) string {
	if p, ok := s.table.Load().ByID[instanceID]; ok {
		return p.Upstream.Failed().String()
	}
	return ""
}

// InRotation reports whether this proxy's own checks of an instance pass, so that
// visitors are, or could be, sent there: true also for an instance of a release
// that is being installed and gets its visitors once the deploy has succeeded.
func (s *Server) InRotation(instanceID string) bool {
	p, ok := s.table.Load().ByID[instanceID]
	return ok && (p.Upstream.InRotation() || p.Next && p.Upstream.State() == balancer.Up)
}

// WriteMetrics writes the series of the engine and of all sites in Prometheus
// text form.
func (s *Server) WriteMetrics(w io.Writer) {
	if s.engine != nil {
		s.engine.writeMetrics(w)
	}
	t := s.table.Load()
	for _, name := range t.Names {
		t.Sites[name].WriteMetrics(w)
	}
}
