package site

import "portico/balancer"

// Over returns the Set-Cookie field that takes the sticky cookie back when an answer
// ends the application's session, and the visitor had better begin elsewhere; else "".
func (st *Site) Over(c *balancer.Choice, bore uint64, path, header string, secure bool, now int64) string {
	if !st.Sticky || header == "" && (st.Logout == "" || path != st.Logout) {
		return ""
	}
	if !st.State.Pool.Over(c, bore, now) {
		return ""
	}
	return st.Cookie.TakeBack(secure)
}
