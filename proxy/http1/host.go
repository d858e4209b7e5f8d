package http1

import "bytes"

// validHost reports whether b is a name, an IPv4 address or a bracketed IPv6 address with an optional port, and nothing more: no
// user information, no path, no percent-encoding, no second port.
func validHost(b []byte) bool {
	name, port, ok := splitHost(b)
	if !ok || len(name) == 0 || len(name) > 255 {
		return false
	}
	if name[0] == '[' {
		return validBracket(name)
	}
	return allOf(name, isHost) && validPort(port)
}

func validBracket(name []byte) bool {
	inner := name[1 : len(name)-1]
	if len(inner) < 2 || bytes.IndexByte(inner, ':') < 0 {
		return false
	}
	for _, c := range inner {
		if charClass[c]&isHex == 0 && c != ':' && c != '.' {
			return false
		}
	}
	return true
}

func validPort(port []byte) bool {
	if len(port) > 5 {
		return false
	}
	n := 0
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}

// splitHost splits a Host value in name (with brackets, if it has them) and port (nil without). It fails on a colon without a port,
// on two colons outside brackets and on anything but a port behind a bracket.
func splitHost(b []byte) (name, port []byte, ok bool) {
	if len(b) > 0 && b[0] == '[' {
		i := bytes.IndexByte(b, ']')
		if i < 0 {
			return nil, nil, false
		}
		rest := b[i+1:]
		if len(rest) == 0 {
			return b, nil, true
		}
		if rest[0] != ':' || len(rest) == 1 || !validPort(rest[1:]) {
			return nil, nil, false
		}
		return b[:i+1], rest[1:], true
	}
	i := bytes.IndexByte(b, ':')
	if i < 0 {
		return b, nil, true
	}
	if i == len(b)-1 || bytes.IndexByte(b[i+1:], ':') >= 0 {
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

// SameHost reports whether two Host values name the same authority: case and the default port of http and https do not matter.
func SameHost(a, b []byte) bool {
	an, ap, aok := splitHost(a)
	bn, bp, bok := splitHost(b)
	if !aok || !bok || !EqualFold(an, bn) {
		return false
	}
	return bytes.Equal(ap, bp) || defaultPort(ap) && defaultPort(bp)
}

func defaultPort(p []byte) bool {
	return len(p) == 0 || string(p) == "80" || string(p) == "443"
}
