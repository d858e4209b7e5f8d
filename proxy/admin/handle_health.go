package admin

import (
	"net/http"
	"time"
)

// healthz says that the process answers, and nothing else.
func (s *Server) healthz(c *call) error { return c.text(http.StatusOK, []byte("ok\n")) }

// readyz says whether the proxy should get traffic, and if not, why.
func (s *Server) readyz(c *call) error {
	var r Readiness
	if s.o.Ready != nil {
		r.Reasons = s.o.Ready()
	}
	if s.o.Catalog.View().Revision == 0 {
		r.Reasons = append(r.Reasons, "the catalog has not been loaded")
	}
	r.Ready = len(r.Reasons) == 0
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	return c.json(status, r)
}

// whoami says who the caller is taken for.
func (s *Server) whoami(c *call) error {
	view := s.o.Catalog.View()
	return c.json(http.StatusOK, Whoami{
		Account: c.who.account, Role: c.who.role, Sites: c.who.sites,
		Cluster: view.ClusterID, Version: s.o.Version,
	})
}

func (s *Server) uptime(now time.Time) time.Duration { return now.Sub(s.o.Started) }
