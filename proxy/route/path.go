package route

import "strings"

// NormalizePath returns the form of a request path under which sites are
// matched. It is used for matching only: what is forwarded stays as it came,
// byte for byte, unless the site strips its mount path.
//
// Escapes are decoded once, except those of "/", "\", "%" and of control
// bytes, which stay escaped and so never act as what they stand for. Then "."
// and ".." segments are resolved and runs of "/" become one. There is one such
// form for every use, so a rule that allows and a rule that denies cannot read
// a path differently.
//
// It reports false for a path that does not begin with "/", for a control byte
// or a backslash (which some servers take for "/"), and for an escape that is not two hexadecimal digits.
func NormalizePath(raw string) (path string, ok bool) {
	if raw == "" || raw[0] != '/' {
		return "", false
	}
	if isNormalPath(raw) {
		return raw, true
	}
	decoded, ok := decodePath(raw)
	if !ok {
		return "", false
	}
	return resolveDots(decoded), true
}

// isNormalPath reports whether NormalizePath would return raw unchanged; it may
// say no too often, never yes.
func isNormalPath(raw string) bool {
	for i := range len(raw) {
		if raw[i] < ' ' {
			return false
		}
		switch raw[i] {
		case '%', '\\', 0x7f:
			return false
		case '/':
			if i+1 < len(raw) && (raw[i+1] == '/' || raw[i+1] == '.') {
				return false
			}
		}
	}
	return true
}

func decodePath(raw string) (string, bool) {
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] < ' ' || raw[i] == 0x7f || raw[i] == '\\' {
			return "", false
		}
		if raw[i] != '%' {
			b.WriteByte(raw[i])
			continue
		}
		if i+2 >= len(raw) {
			return "", false
		}
		hi, lo := unhex(raw[i+1]), unhex(raw[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		c := byte(hi<<4 | lo)
		if c == '/' || c == '\\' || c == '%' || c < 0x20 || c == 0x7f {
			b.WriteByte('%')
			b.WriteByte(upperHex(raw[i+1]))
			b.WriteByte(upperHex(raw[i+2]))
		} else {
			b.WriteByte(c)
		}
		i += 2
	}
	return b.String(), true
}

// resolveDots applies RFC 3986 section 5.2.4 and drops empty segments, except
// that a final "/" stays.
func resolveDots(p string) string {
	out := make([]string, 0, 8)
	slash := false
	for seg := range strings.SplitSeq(p[1:], "/") {
		switch seg {
		case "", ".":
			slash = true
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			slash = true
		default:
			out = append(out, seg)
			slash = false
		}
	}
	joined := "/" + strings.Join(out, "/")
	if slash && len(out) > 0 {
		joined += "/"
	}
	return joined
}

// UnderMount reports whether a normalized path lies at or below mount, which
// is "/" or a normalized path without a final "/". "/app" covers "/app" and
// "/app/x" but not "/apple".
func UnderMount(path, mount string) bool {
	if mount == "/" {
		return true
	}
	return strings.HasPrefix(path, mount) && (len(path) == len(mount) || path[len(mount)] == '/')
}

// StripMount removes mount from a raw request path that was routed by its
// normalized form. Where the raw path spells the mount path literally and holds
// nothing that normalization would move, the rest is passed on byte for byte;
// otherwise the rest of the normalized path is, so that no ".." can climb
// out of what the site was given.
func StripMount(raw, normalized, mount string) string {
	if mount == "/" {
		return raw
	}
	rest := ""
	if UnderMount(raw, mount) && !hasDots(raw) {
		rest = raw[len(mount):]
	} else {
		rest = EncodePath(normalized[len(mount):])
	}
	if rest == "" {
		return "/"
	}
	return rest
}

// hasDots reports whether raw may hold a "." or ".." segment, plain or escaped.
func hasDots(raw string) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '/' {
			continue
		}
		if raw[i+1] == '.' || raw[i+1] == '/' {
			return true
		}
		if raw[i+1] == '%' && i+3 < len(raw) && raw[i+2] == '2' && raw[i+3]|0x20 == 'e' {
			return true
		}
	}
	return false
}

// EncodePath escapes what a request target may not hold. "%" stays, because a
// normalized path holds it only in escapes.
func EncodePath(p string) string {
	const hex = "0123456789ABCDEF"
	for i := range len(p) {
		if mustEscape(p[i]) {
			var b strings.Builder
			for i := range len(p) {
				if c := p[i]; mustEscape(c) {
					b.WriteByte('%')
					b.WriteByte(hex[c>>4])
					b.WriteByte(hex[c&15])
				} else {
					b.WriteByte(c)
				}
			}
			return b.String()
		}
	}
	return p
}

func mustEscape(c byte) bool {
	return c <= ' ' || c >= 0x7f || strings.IndexByte(`"#<>?[\]^`+"`{|}", c) >= 0
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func upperHex(c byte) byte {
	if 'a' <= c && c <= 'f' {
		return c - 'a' + 'A'
	}
	return c
}
