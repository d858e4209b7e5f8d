package proxy

import (
	"time"

	"portico/balancer"
	"portico/proxy/sticky"
)

// bears reads the application's token from a request and returns its hash; 0: none.
func (s *Server) bears(st *site, f sticky.Fields, target string) uint64 {
	if len(st.profile.Places) == 0 {
		return 0
	}
	if v := st.profile.Borne(f, target); v != "" {
		return s.bal.HashApp([]byte(v))
	}
	return 0
}

// learn notes what an answer says of the application's session. While there is none,
// the visitor gets no cookie of ours either.
func (s *Server) learn(st *site, c *balancer.Choice, bore uint64, setCookies []string, field func(name string) string) {
	if len(st.profile.Places) == 0 || c.Upstream == nil {
		return
	}
	pool, now := st.siteState.pool, s.clock.Millis(time.Now())
	if v := st.profile.Announced(setCookies, field); v != "" {
		pool.Learn(c, s.bal.HashApp([]byte(v)), now)
		return
	}
	if bore != 0 {
		pool.Bear(c, bore, now)
		return
	}
	if !st.profile.Silent {
		pool.Decline(c)
	}
}
