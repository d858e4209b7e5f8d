package proxy

import "portico/balancer"

// SessionEndHeader is what an application answers with when it has ended its session,
// with any value: the visitor may begin the next one elsewhere. It is not passed on.
const SessionEndHeader = "Portico-Session-End"

const endField = "portico-session-end"

// over returns the Set-Cookie field that takes the sticky cookie back when an answer
// ends the application's session, and the visitor had better begin elsewhere; else "".
func (st *site) over(c *balancer.Choice, bore uint64, path, header string, secure bool, now int64) string {
	if !st.sticky || header == "" && (st.logout == "" || path != st.logout) {
		return ""
	}
	if !st.siteState.pool.Over(c, bore, now) {
		return ""
	}
	return st.cookie.TakeBack(secure)
}
