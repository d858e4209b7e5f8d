package forward

import (
	"net/http"
	"net/netip"
	"strings"

	"portico/proxy/route"
)

// Client is who sent a request, as far as it can be trusted.
type Client struct {
	Addr  netip.Addr // the visitor: the peer, or what trusted proxies in front said
	Peer  netip.Addr // the other end of the connection
	Proto string     // "http" or "https", as the visitor sees it
	Host  string     // the Host field as the visitor sent it
	Local string     // port that the visitor connected to
	Chain string     // X-Forwarded-For to send on, ending with Peer
}

// Identify works out who the client is. Fields that name somebody else are
// believed only from a peer inside trusted; from anybody else they are dropped.
func Identify(peer netip.AddrPort, tls bool, host, local string, in http.Header, trusted []netip.Prefix) Client {
	addr := peer.Addr().Unmap().WithZone("")
	c := Client{Addr: addr, Peer: addr, Proto: "http", Host: host, Local: local, Chain: addr.String()}
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
		if _, ok := route.ParseHost(h); ok {
			c.Host = h
		}
	}
	if p := in.Get("X-Forwarded-Port"); p != "" && route.ValidPort(p) {
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
