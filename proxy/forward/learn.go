package forward

import (
	"time"

	"portico/balancer"
	"portico/proxy/site"
	"portico/proxy/sticky"
)

// requestToken reads the application's token from a request and returns its hash; 0: none.
func (h *Handler) requestToken(st *site.Site, f sticky.Fields, target string) uint64 {
	if len(st.Profile.Places) == 0 {
		return 0
	}
	if v := st.Profile.RequestToken(f, target); v != "" {
		return h.Balancer.HashApp([]byte(v))
	}
	return 0
}

// learn notes what an answer says of the application's session. While there is none,
// the visitor gets no cookie of ours either.
func (h *Handler) learn(st *site.Site, c *balancer.Choice, brought uint64, setCookies []string, field func(name string) string) {
	if len(st.Profile.Places) == 0 || c.Upstream == nil {
		return
	}
	pool, now := st.State.Pool, h.Clock.Millis(time.Now())
	if v := st.Profile.AnswerToken(setCookies, field); v != "" {
		pool.Learn(c, h.Balancer.HashApp([]byte(v)), now)
		return
	}
	if brought != 0 {
		pool.Refresh(c, brought, now)
		return
	}
	if !st.Profile.Silent {
		pool.Decline(c)
	}
}
