package proxy

import (
	"portico/balancer"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// noteLost logs a session that moves to another instance because it was lost. The
// counters by cause are the balancer's.
func (s *Server) noteLost(st *site.Site, c *balancer.Choice) {
	if c.Lost == balancer.CauseNone || c.Upstream == nil {
		return
	}
	s.log.Info("session lost", "site", st.Name, "cause", c.Lost.String(), "from", c.LostFrom, "to", c.Upstream.Spec().Name,
		"session", sticky.SessionName(c.Session))
	if s.o.Moved != nil {
		s.o.Moved(c.Session, c.Upstream.ID())
	}
}
