package sites

import (
	"net/netip"
	"strings"
)

// AnyHost stands for every host that no site names: what a site without hosts answers on.
const AnyHost = "*"

// HostsOf returns the hosts of settings, each in its one form.
func HostsOf(s Settings) []string {
	if len(s.Hosts) == 0 {
		return []string{AnyHost}
	}
	out := make([]string, len(s.Hosts))
	for i, h := range s.Hosts {
		out[i] = CanonicalHost(h)
	}
	return out
}

// CanonicalHost brings a host into the one form in which hosts are compared: lower case,
// without the final dot, an address as it is usually written.
func CanonicalHost(h string) string {
	h = strings.ToLower(strings.TrimSuffix(h, "."))
	if a, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
		return a.Unmap().String()
	}
	return h
}
