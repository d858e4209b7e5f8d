package proxy

import (
	"io"
	"time"

	"portico/balancer"
	"portico/balancer/figures"
)

// counted adds what the driver counts of connections over TLS.
func (e *engine) counted(f *figures.Frontend) {
	st := e.driver.Stats()
	f.H2Sessions = st.HTTP2
	f.H1Sessions -= min(f.H1Sessions, st.HTTP2)
	f.DeniedConns += st.Denied
	f.Errors += st.BadTLS
}

// Snapshot returns what pages, CSV, JSON and metrics show.
func (s *Server) Snapshot() figures.Proxy {
	now := time.Now()
	ms := s.clock.Millis(now)
	t := s.table.Load()
	out := figures.Proxy{
		At: now, Started: s.started, Revision: t.Revision, Tunnels: int(s.handler.Tunnels.Load()),
		LogLost: s.o.AccessLog.Lost(), Panics: s.handler.Panics.Load(),
	}
	for _, name := range t.Names {
		out.Pools = append(out.Pools, t.Site(name).State.Pool.Snapshot(ms))
	}
	if !s.bound.Load() {
		return out
	}
	for _, l := range s.listeners {
		out.Frontends = append(out.Frontends, l.Front.Snapshot(s.o.Conf.Limits.Connections, ms))
		if l.TLS != nil { // only there a client says what it speaks
			s.engine.counted(&out.Frontends[len(out.Frontends)-1])
		}
	}
	return out
}

// Pool is what Snapshot returns of one site. It takes as long with one site as with thousands.
func (s *Server) Pool(name string) (p figures.Pool, served bool) {
	site := s.table.Load().Site(name)
	if site == nil {
		return p, false
	}
	return site.State.Pool.Snapshot(s.clock.Millis(time.Now())), true
}

// RecentSessions returns how many sessions of an instance were used a short time ago.
func (s *Server) RecentSessions(instanceID string) int {
	p, ok := s.table.Load().Instance(instanceID)
	if !ok {
		return 0
	}
	return s.bal.Forecast([]*balancer.Upstream{p.Upstream}, s.clock.Millis(time.Now())).Recent
}

// Load returns the live sessions and the running requests of an instance, both 0
// for one that is not served. While known is false there may be more sessions: this
// proxy started after the instance did and has not met all its visitors yet, or it has no
// sites at all yet. Nobody may stop an instance on its word then.
func (s *Server) Load(instanceID string) (sessions, inflight int, known bool) {
	t := s.table.Load()
	p, ok := t.Instance(instanceID)
	if !ok {
		return 0, 0, t.Revision > 0
	}
	return p.Site.State.Pool.Load(instanceID, s.clock.Millis(time.Now()))
}

// Failed returns why visitors lose their sessions at an instance because it does not
// work here any more, as SessionLostHeader tells them, or "".
func (s *Server) Failed(instanceID string) string {
	if p, ok := s.table.Load().Instance(instanceID); ok {
		return p.Upstream.Failed().String()
	}
	return ""
}

// InRotation reports whether this proxy's own checks of an instance pass, the last one too, so that
// visitors are, or could be, sent there: true also for an instance of a release
// that is being installed and gets its visitors once the deploy has succeeded.
func (s *Server) InRotation(instanceID string) bool {
	p, ok := s.table.Load().Instance(instanceID)
	return ok && (p.Upstream.InRotation() || p.Next && p.Upstream.State() == balancer.Up) && s.probes.Passed(instanceID)
}

// WriteMetrics writes the series of the engine and of all sites in Prometheus
// text form.
func (s *Server) WriteMetrics(w io.Writer) {
	if s.engine != nil {
		s.engine.writeMetrics(w)
	}
	t := s.table.Load()
	for _, name := range t.Names {
		t.Site(name).WriteMetrics(w)
	}
}
