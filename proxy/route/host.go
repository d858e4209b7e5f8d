// Package route decides which site a request is for, and whether it is sent to TLS first. There is
// one form of a host and of a path for every use, so that no two rules can read an address
// differently. It knows the rule of a site and nothing else of it.
package route

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// ParseHost reads a Host field or an :authority and returns the one form under
// which sites are looked up: lower case, without port and without the final
// dot, non-ASCII labels in their ASCII form (IDNA, UTS 46), an IPv6 address
// without its brackets. It reports false for anything that RFC 9110 section
// 7.2 does not allow there: user information, a path, spaces, two ports, an
// empty label, a port that is no number.
//
// Routing and the policy of TLS both use this function, so that "app.test.",
// "APP.TEST:443" and "app.test" can never be told apart.
func ParseHost(authority string) (host string, ok bool) {
	host, port, ok := splitHostPort(authority)
	if !ok || !ValidPort(port) || host == "" || len(host) > 254 {
		return "", false
	}
	if host[0] == '[' {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", false
		}
		return addr.String(), true
	}
	host = strings.TrimSuffix(host, ".")
	plain, valid := scanHost(host)
	if !valid {
		return "", false
	}
	if !plain {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", false
		}
		host = strings.TrimSuffix(ascii, ".")
		if _, valid = scanHost(host); !valid {
			return "", false
		}
	}
	return toLowerASCII(host), len(host) <= 253
}

// splitHostPort cuts "host:port" without judging either, except that brackets
// must match and a bare host holds no colon.
func splitHostPort(authority string) (host, port string, ok bool) {
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return "", "", false
		}
		rest := authority[end+1:]
		if rest == "" {
			return authority[:end+1], "", true
		}
		return authority[:end+1], strings.TrimPrefix(rest, ":"), rest[0] == ':'
	}
	host, port, _ = strings.Cut(authority, ":")
	return host, port, true
}

// ValidPort reports whether port is empty (RFC 3986 allows "host:") or a
// decimal number up to 65535.
func ValidPort(port string) bool {
	if port == "" {
		return true
	}
	if len(port) > 5 {
		return false
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	n, err := strconv.Atoi(port)
	return err == nil && n <= 65535
}

// scanHost reports whether host consists of ASCII only, and whether its labels
// are well formed so far as ASCII decides it.
func scanHost(host string) (plain, valid bool) {
	if host == "" {
		return true, false
	}
	plain = true
	label := 0
	for i := range len(host) {
		switch c := host[i]; {
		case c == '.':
			if label == 0 || label > 63 {
				return plain, false
			}
			label = 0
			continue
		case c >= 0x80:
			plain = false
		case c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		default:
			return plain, false
		}
		label++
	}
	return plain, label > 0 && (label <= 63 || !plain)
}

// toLowerASCII lowers A to Z and returns s itself where nothing changes.
func toLowerASCII(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}
