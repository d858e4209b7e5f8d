package forward

import (
	"portico/balancer"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// noteLost logs a session that moves to another instance because it was lost. The
// counters by cause are the balancer's.
func (h *Handler) noteLost(st *site.Site, c *balancer.Choice) {
	if c.Lost == balancer.CauseNone || c.Upstream == nil {
		return
	}
	h.Log.Info("session lost", "site", st.Name, "cause", c.Lost.String(), "from", c.LostFrom, "to", c.Upstream.Spec().Name,
		"session", sticky.SessionName(c.Session))
	if h.Moved != nil {
		h.Moved(c.Session, c.Upstream.ID())
	}
}
