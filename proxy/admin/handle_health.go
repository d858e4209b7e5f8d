package admin

import (
	"net/http"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// healthz says that the process answers, and nothing else.
func (s *Server) healthz(c *call) error { return c.text(http.StatusOK, []byte("ok\n")) }

// readyz says whether the proxy should get traffic, and if not, why; and apart from that
// whether changes can be made here. The status is about traffic, with ?changes about changes.
func (s *Server) readyz(c *call) error {
	changes, err := c.flag("changes")
	if err != nil {
		return err
	}
	var r api.Readiness
	if s.o.Ready != nil {
		r.Reasons = s.o.Ready()
	}
	r.View.Revision = s.o.Catalog.View().Revision
	if r.View.Revision == 0 {
		r.Reasons = append(r.Reasons, "the catalog has not been loaded")
	}
	if err := s.o.Catalog.Err(); err != nil {
		r.Changes.Reasons = append(r.Changes.Reasons, "the catalog: "+catalog.Text(err))
	} else if !s.o.Catalog.HasLeader() {
		r.Changes.Reasons = append(r.Changes.Reasons, catalog.ErrNoMajority.Error())
	}
	if since := s.o.Catalog.OldSince(); !since.IsZero() {
		since = since.UTC().Truncate(time.Millisecond)
		r.View.OldSince = &since
	}
	r.Ready, r.Changes.Ready = len(r.Reasons) == 0, len(r.Changes.Reasons) == 0
	status := http.StatusOK
	if !r.Ready || changes && !r.Changes.Ready {
		status = http.StatusServiceUnavailable
	}
	return c.json(status, r)
}

// whoami says who the caller is taken for.
func (s *Server) whoami(c *call) error {
	view := s.o.Catalog.View()
	return c.json(http.StatusOK, api.Whoami{
		Account: c.who.Account, Role: c.who.Role, Sites: c.who.Sites,
		Cluster: view.ClusterID, Version: s.o.Version,
	})
}
