package haproxy

import (
	"strings"
)

// maxName is what HAProxy's own tools still show whole.
const maxName = 128

// ident turns any text into a name that HAProxy takes for a section, a server
// or an ACL: letters, digits, "-", "_", "." and ":" stay, every other byte
// becomes "_" and two hexadecimal digits. Different texts of a common length
// stay different, because "_" itself is escaped too.
func ident(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < maxName; i++ {
		c := s[i]
		if c == '-' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('_')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	if b.Len() == 0 {
		return "_"
	}
	return b.String()
}

// quote writes s as one argument of a configuration line. Plain text stays
// bare; everything else stands between double quotes, where HAProxy reads "\"
// escapes and nothing but "$" and "\" is special. NUL, which no escape can
// carry, is left out.
func quote(s string) string {
	if isPlain(s) {
		return s
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == 0:
		case c == '"' || c == '\\' || c == '$':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c == 0x7f:
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func isPlain(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("-_./:@%+=,*~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// format writes s as one argument that HAProxy reads as a log format, where
// "%" begins a variable.
func format(s string) string { return quote(strings.ReplaceAll(s, "%", "%%")) }

// comment makes s fit behind "#": one line of printable ASCII.
func comment(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && i < 200; i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			b.WriteByte('?')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// hostOK reports whether host is one that HAProxy's rules can name: what
// catalog accepts, checked again because a rule in a configuration file is no
// place for trust.
func hostOK(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if !(c == '-' || c == '_' || c == '.' || c == ':' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z') {
			return false
		}
	}
	return true
}

// pathOK reports whether a mount path can be named in a rule.
func pathOK(p string) bool {
	if p == "" || p[0] != '/' || len(p) > 512 {
		return false
	}
	for i := range len(p) {
		c := p[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("-_./:@+=,*~!&", c) >= 0) {
			return false
		}
	}
	return true
}

// uriOK reports whether s can stand in a request line.
func uriOK(s string) bool {
	if s == "" || s[0] != '/' || len(s) > 1024 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
