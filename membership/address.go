package membership

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Advertised returns the host:port to tell others for a listener bound to bind
// (host:port), and how it was found, for the log.
//
// advertise is what the operator set (host or host:port) and wins. Else a bound
// address speaks for itself. For a wildcard it is the address from which this
// machine would send to the first of peers (host:port) that can be resolved;
// no packet is sent for that. Without any peer it is that of the default route.
func Advertised(ctx context.Context, advertise, bind string, peers []string) (addr, why string, err error) {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return "", "", fmt.Errorf("find the address to advertise: %q is not host:port: %w", bind, err)
	}
	if advertise != "" {
		n, err := strconv.Atoi(port)
		if err != nil {
			return "", "", fmt.Errorf("find the address to advertise: port %q: %w", port, err)
		}
		return withPort(advertise, n), "set", nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
		return bind, "bound", nil
	} else if err != nil && host != "" {
		return bind, "bound", nil // a name
	}
	for _, peer := range peers {
		if ip, err := routeTo(ctx, peer); err == nil {
			return net.JoinHostPort(ip.String(), port), "route to " + peer, nil
		}
	}
	// Addresses for documentation (RFC 5737, RFC 3849): never local, so their
	// route is the default one.
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		if ip, err := routeTo(ctx, far); err == nil {
			return net.JoinHostPort(ip.String(), port), "default route", nil
		}
	}
	return net.JoinHostPort("127.0.0.1", port), "no route anywhere, loopback only", nil
}

// routeTo returns the local address from which packets to peer would leave.
func routeTo(ctx context.Context, peer string) (netip.Addr, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", peer) // connects the socket, sends nothing
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the route to %s: %w", peer, err)
	}
	defer func() { _ = conn.Close() }()
	ip := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if ip.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("find the route to %s: no local address", peer)
	}
	return ip.WithZone(""), nil
}

// resolve turns host:port into an address that gossip can carry: IP addresses
// only, because members look nothing up.
func resolve(ctx context.Context, addr string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolve %q: %w", addr, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolve %q: port: %w", addr, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("resolve %q: %w", addr, err)
	}
	if len(ips) == 0 {
		return netip.AddrPort{}, fmt.Errorf("resolve %q: no address", addr)
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(n)), nil
}
