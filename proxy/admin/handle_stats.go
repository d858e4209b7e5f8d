package admin

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"portico/balancer/figures"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
	"portico/proxy/admin/prometheus"
	"portico/proxy/admin/proxies"
	"portico/proxy/haproxy"
)

// snapshot returns the traffic that who may see.
func (s *Server) snapshot(who *access.Identity) figures.Proxy {
	if s.o.Snapshot == nil {
		return figures.Proxy{At: time.Now(), Started: s.o.Started}
	}
	snap := s.o.Snapshot()
	if snap.Started.IsZero() {
		snap.Started = s.o.Started
	}
	snap.Pools = slices.Clone(snap.Pools)
	if len(who.Sites) > 0 {
		snap.Frontends = nil
		snap.Pools = slices.DeleteFunc(snap.Pools, func(p figures.Pool) bool { return !who.Sees(p.Name) })
	}
	slices.SortFunc(snap.Pools, func(a, b figures.Pool) int { return strings.Compare(a.Name, b.Name) })
	return snap
}

// everywhere returns the pools that a caller may see, over all proxies.
func (s *Server) everywhere(c *call) proxies.Totals {
	return s.all.Totals(c.r.Context(), s.snapshot(c.who).Pools)
}

// siteEverywhere returns the pool of one site that the caller may see, over all proxies; none is served: none.
func (s *Server) siteEverywhere(c *call, site string) proxies.Totals {
	return s.all.TotalsOf(c.r.Context(), site)
}

func (s *Server) statsJSON(c *call) error { return c.json(http.StatusOK, s.stats(c)) }

func (s *Server) stats(c *call) api.Stats {
	view := s.o.Catalog.View()
	snap := s.snapshot(c.who)
	out := api.Stats{
		Cluster: view.ClusterID, Proxy: s.o.Name, Version: s.o.Version, Revision: view.Revision,
		Now: c.now.UTC(), Started: snap.Started.UTC(), Frontends: emptyNotNull(snap.Frontends), Pools: emptyNotNull(snap.Pools),
	}
	if len(c.who.Sites) == 0 {
		out.Members = s.memberInfos(view, snap.Pools)
	}
	return out
}

// statsCSV answers /stats;csv.
func (s *Server) statsCSV(c *call) error {
	snap := s.snapshot(c.who)
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.Header().Set("Cache-Control", "no-store, no-cache")
	return haproxy.WriteCSV(c.w, snap)
}

// metricsText answers GET /metrics. The series are made from one snapshot each
// time, so they die with the site, instance or member that they are about.
func (s *Server) metricsText(c *call) error {
	var b bytes.Buffer
	(&prometheus.Series{
		View: s.o.Catalog.View(), Traffic: s.snapshot(c.who), Version: s.o.Version, Uptime: c.now.Sub(s.o.Started), Certificates: s.certificates(),
	}).Write(&b)
	for _, write := range s.o.Metrics {
		write(&b)
	}
	metrics.WriteProcessMetrics(&b)
	c.w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(b.Bytes()) // the client is gone: nobody to tell
	return nil
}
