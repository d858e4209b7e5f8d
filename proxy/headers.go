package proxy

import (
	"net/http"
	"net/netip"
	"strings"
)

// Names of fields that carry meaning between portico and a site's processes.
const (
	// SessionLostHeader is on the first request that reaches an instance after
	// a visitor had to leave the one that held the session:
	// "cause=instance-down". It is always removed from what clients send.
	SessionLostHeader = "Portico-Session-Lost"
)

// hopByHop are the fields of RFC 9110 section 7.6.1 and their older relatives:
// they concern one connection and are never forwarded as they came.
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Http2-Settings": true,
}

// keptFromConnection reports whether a field stays although a Connection field
// names it. Everything that frames, addresses or authenticates the message
// would otherwise be removable by the client (CVE-2021-33197, CVE-2024-45410,
// CVE-2026-29054).
func keptFromConnection(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding",
		"Authorization", "Cookie", "Set-Cookie", "Forwarded", "X-Real-Ip", SessionLostHeader:
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// fromProxyOnly reports whether only a proxy may say this: such fields of a
// client are dropped before portico's own are set.
func fromProxyOnly(name string) bool {
	switch name {
	case "Forwarded", "X-Real-Ip", SessionLostHeader:
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-")
}

// aliasable reports whether an application behind CGI rules could mistake the
// name for another one: "X_Forwarded_For" and "X-Forwarded-For" are both
// HTTP_X_FORWARDED_FOR there (CVE-2025-64484).
func aliasable(name string) bool { return strings.IndexByte(name, '_') >= 0 }

// connectionTokens calls yield for each token of Connection fields, without
// allocating for the usual one or two.
func connectionTokens(values []string, yield func(token string)) {
	for _, v := range values {
		for v != "" {
			var tok string
			tok, v, _ = strings.Cut(v, ",")
			if tok = strings.Trim(tok, " \t"); tok != "" {
				yield(tok)
			}
		}
	}
}

// hasToken reports whether a list of comma separated values holds token,
// without regard to case.
func hasToken(values []string, token string) bool {
	found := false
	connectionTokens(values, func(t string) { found = found || strings.EqualFold(t, token) })
	return found
}

// removeHopByHop deletes from h what concerns one connection only, including
// what Connection names, but never what keptFromConnection protects.
func removeHopByHop(h http.Header) {
	if c := h["Connection"]; c != nil {
		connectionTokens(c, func(tok string) {
			name := http.CanonicalHeaderKey(tok)
			if !keptFromConnection(name) {
				delete(h, name)
			}
		})
	}
	for name := range h {
		if hopByHop[name] {
			delete(h, name)
		}
	}
}

// Client is who sent a request, as far as it can be trusted.
type Client struct {
	Addr  netip.Addr // the visitor: the peer, or what trusted proxies in front said
	Peer  netip.Addr // the other end of the connection
	Port  uint16     // of the peer
	Proto string     // "http" or "https", as the visitor sees it
	Host  string     // the Host field as the visitor sent it
	Local string     // port that the visitor connected to
	Chain string     // X-Forwarded-For to send on, ending with Peer
}

// identify works out who the client is. Fields that name somebody else are
// believed only from a peer inside trusted; from anybody else they are dropped.
func identify(peer netip.AddrPort, tls bool, host, local string, in http.Header, trusted []netip.Prefix) Client {
	addr := peer.Addr().Unmap().WithZone("")
	c := Client{Addr: addr, Peer: addr, Port: peer.Port(), Proto: "http", Host: host, Local: local, Chain: addr.String()}
	if tls {
		c.Proto = "https"
	}
	if len(trusted) == 0 || !within(addr, trusted) {
		return c
	}
	if chain := strings.Join(in["X-Forwarded-For"], ", "); chain != "" && len(chain) <= 1024 {
		if first, ok := visitor(chain, trusted); ok {
			c.Addr = first
		}
		c.Chain = chain + ", " + c.Chain
	}
	if p := in.Get("X-Forwarded-Proto"); p == "http" || p == "https" {
		c.Proto = p
	}
	if h := in.Get("X-Forwarded-Host"); h != "" {
		if _, ok := ParseHost(h); ok {
			c.Host = h
		}
	}
	if p := in.Get("X-Forwarded-Port"); p != "" && validPort(p) {
		c.Local = p
	}
	return c
}

// visitor walks a forwarding chain from its end and returns the first address
// that no trusted proxy has; what stands before it could be anybody's text.
func visitor(chain string, trusted []netip.Prefix) (netip.Addr, bool) {
	var last netip.Addr
	for chain != "" {
		i := strings.LastIndexByte(chain, ',')
		a, err := netip.ParseAddr(strings.TrimSpace(chain[i+1:]))
		if err != nil {
			break
		}
		last = a.Unmap().WithZone("")
		if !within(last, trusted) {
			break
		}
		chain = chain[:max(i, 0)]
	}
	return last, last.IsValid()
}

func within(a netip.Addr, set []netip.Prefix) bool {
	for _, p := range set {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// requestHeader builds what the instance gets from what the client sent. The
// sticky cookie is taken out by the caller, who knows its name.
func requestHeader(in http.Header, c *Client, prefix string) http.Header {
	out := make(http.Header, len(in)+6)
	for name, values := range in {
		if hopByHop[name] || fromProxyOnly(name) || aliasable(name) || name == "Expect" || name == "Content-Length" || name == "Host" {
			continue
		}
		out[name] = values
	}
	if conn := in["Connection"]; conn != nil {
		connectionTokens(conn, func(tok string) {
			if name := http.CanonicalHeaderKey(tok); !keptFromConnection(name) {
				delete(out, name)
			}
		})
	}
	if hasToken(in["Te"], "trailers") {
		out["Te"] = []string{"trailers"} // gRPC servers insist on it
	}
	set := [4]string{c.Chain, c.Proto, c.Host, c.Local}
	out["X-Forwarded-For"] = set[0:1:1]
	out["X-Forwarded-Proto"] = set[1:2:2]
	out["X-Forwarded-Host"] = set[2:3:3]
	if c.Local != "" {
		out["X-Forwarded-Port"] = set[3:4:4]
	}
	if prefix != "" {
		out["X-Forwarded-Prefix"] = []string{prefix}
	}
	return out
}

// trailerAllowed reports whether a field may travel in a trailer section: not
// what frames, routes, authenticates or modifies the request (RFC 9110 section
// 6.5.1). Trailers are never merged into the header section.
func trailerAllowed(name string) bool {
	switch name {
	case "Host", "Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Authorization",
		"Cookie", "Set-Cookie", "Cache-Control", "Expect", "Max-Forwards", "Pragma", "Range", "Location":
		return false
	}
	return !hopByHop[name] && !fromProxyOnly(name) && !aliasable(name)
}
