package site

import (
	"net/http"
	"net/netip"

	"portico/balancer"
	"portico/conf/sites"
	"portico/internal/alias"
	"portico/proxy/sticky"
)

// Fleeting reports whether a request without a session should begin none: a browser's preflight never
// bears a cookie (Fetch standard, 4.8), and who asks for heads or options alone is a monitor or a robot as
// a rule. Where the application's token is looked for, the answer to HEAD may bring one.
func (st *Site) Fleeting(method string) bool {
	return method == http.MethodOptions || method == http.MethodHead && len(st.Profile.Places) == 0
}

// PolicyHash is what the policies source, header and uri go by; 0: the header field is
// missing. It is the same on every proxy, so that they agree.
func (st *Site) PolicyHash(addr netip.Addr, path string, field func(name string) string) uint64 {
	switch st.Hash {
	case sites.PolicySource:
		a := addr.As16()
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

// Adopt leads a visitor without a cookie of ours to the instance that the balancer before kept them on. It
// returns the cookie that names it, and what said so.
func (st *Site) Adopt(app uint64, f sticky.Fields, target string) (cookie []byte, by string) {
	a := st.State.Adoption.Load()
	if a == nil || app != 0 && st.State.Pool.Knows(app) {
		return nil, ""
	}
	u, by := a.Find(&st.Profile, f, target)
	if u == nil {
		return nil, ""
	}
	return u.Token().Append(nil), by
}
