package proxy

import (
	"net/http"

	"portico/balancer"
	"portico/conf/sites"
	"portico/internal/alias"
	"portico/proxy/sticky"
)

// fleeting reports whether a request without a session should begin none: a browser's preflight never
// bears a cookie (Fetch standard, 4.8), and who asks for heads or options alone is a monitor or a robot as
// a rule. Where the application's token is looked for, the answer to HEAD may bring one.
func (st *site) fleeting(method string) bool {
	return method == http.MethodOptions || method == http.MethodHead && len(st.profile.Places) == 0
}

// policyHash is what the policies source, header and uri go by; 0: the header field is
// missing. It is the same on every proxy, so that they agree.
func (st *site) policyHash(c *Client, path string, field func(name string) string) uint64 {
	switch st.hash {
	case sites.PolicySource:
		a := c.Addr.As16()
		return balancer.Hash(a[:])
	case sites.PolicyURI:
		return balancer.Hash(alias.Bytes(path))
	case sites.PolicyHeader:
		if v := field(st.hashBy); v != "" {
			return balancer.Hash(alias.Bytes(v))
		}
	}
	return 0
}

// adopt leads a visitor without a cookie of ours to the instance that the balancer before kept them on. It
// returns the cookie that names it, and what said so.
func (st *site) adopt(app uint64, f sticky.Fields, target string) (cookie []byte, by string) {
	a := st.siteState.adoption.Load()
	if a == nil || app != 0 && st.siteState.pool.Knows(app) {
		return nil, ""
	}
	u, by := a.Find(&st.profile, f, target)
	if u == nil {
		return nil, ""
	}
	return u.Token().Append(nil), by
}
