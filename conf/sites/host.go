package sites

import (
	"fmt"
	"net/netip"
	"path"
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

// ValidHost checks one of a site's hosts: a name of letters, digits and hyphens
// with "*." allowed as its first label, or an IP address. International names are
// written in their ASCII form.
func ValidHost(host string) error {
	if why := hostFault(host); why != "" {
		return fmt.Errorf("%w: host %.80q %s; write it as shop.example.com, without scheme, port or path", ErrInvalid, host, why)
	}
	return nil
}

// hostFault says what is wrong with a host, to be read behind it; nothing if it is right.
func hostFault(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	name, wild := strings.CutPrefix(host, "*.")
	if name == "" || len(name) > 253 {
		return "is empty or longer than 253 characters"
	}
	labels := strings.Split(name, ".")
	if wild && len(labels) < 2 {
		return "would match a whole top-level domain"
	}
	for _, l := range labels {
		if why := labelFault(l); why != "" {
			return why
		}
	}
	return ""
}

func labelFault(label string) string {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return "has an empty, overlong or hyphen-edged label"
	}
	for _, r := range label {
		switch {
		case r > 127:
			return "has letters beyond ASCII, use its xn-- form"
		case r >= 'A' && r <= 'Z':
			return "has capitals, use lower case"
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
		default:
			return fmt.Sprintf("contains %q", r)
		}
	}
	return ""
}

const mountRemedy = "write it as /shop: it begins with a slash, and has no dots, doubled slashes, escapes, spaces or query"

// validMount reports whether p is a mount path in its simplest form, so that the one that is
// matched is the one that is meant.
func validMount(p string) bool {
	return p == "/" || strings.HasPrefix(p, "/") && path.Clean(p) == strings.TrimSuffix(p, "/") &&
		printable(p) && !strings.ContainsAny(p, `?#%\;"<>`) && len(p) <= 255
}
