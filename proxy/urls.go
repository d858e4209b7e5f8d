package proxy

import (
	"net"
	"strings"

	"portico/conf/sites"
)

// URLs are where a site with these settings, defaults filled in, answers at this proxy now: one
// for each of its hosts, with the port where it is not the scheme's own. It is the one that a
// visitor ends up at: TLS where plain requests are sent there, or where there is no other.
// A site of all hosts is told by the address that is listened on, or by here where that is every
// address. Of a wildcard, the name "www" below it is told.
func (s *Server) URLs(set sites.Settings, here string) []string {
	if !s.bound.Load() {
		return nil
	}
	st := &site{tlsMode: set.TLS.Mode, redirect: set.TLS.Redirect}
	path := strings.TrimSuffix(set.Path, "/") + "/"
	hosts := set.Hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	var urls []string
	for _, host := range hosts {
		if name, wild := strings.CutPrefix(host, "*."); wild {
			host = "www." + name
		}
		switch {
		case s.plain.addr != "":
			host = hostAt(s.plain.addr, host, here)
			if to := s.redirectTarget(st, host, path); to != "" {
				urls = append(urls, to)
				continue
			}
			_, port, _ := net.SplitHostPort(s.plain.addr)
			urls = append(urls, "http://"+plainHost(host, port)+path)
		case s.secure.addr != "" && set.TLS.Mode != "off":
			host = hostAt(s.secure.addr, host, here)
			urls = append(urls, "https://"+hostWithPort(host, s.securePort())+path)
		}
	}
	return urls
}

// hostAt is host, or where none is named the one that leads to a listener at addr.
func hostAt(addr, host, here string) string {
	if host != "" {
		return host
	}
	ip, _, _ := net.SplitHostPort(addr)
	if parsed := net.ParseIP(ip); parsed == nil || parsed.IsUnspecified() {
		return here
	}
	return ip
}

// plainHost is host with the port of a plain listener, which is not said where it is 80.
func plainHost(host, port string) string {
	if port == "80" {
		return hostWithPort(host, "")
	}
	return net.JoinHostPort(host, port)
}
