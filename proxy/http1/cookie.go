package http1

import "bytes"

// Cookie returns the first value of a cookie and how often the cookie occurs, over all Cookie fields. The value aliases the input.
func (r *Request) Cookie(name string) (value []byte, count int) {
	if r.cookies == 0 {
		return nil, 0
	}
	for i := range r.Fields {
		if r.Fields[i].Kind != KindCookie {
			continue
		}
		rest := r.Value(&r.Fields[i])
		for len(rest) > 0 {
			var pair []byte
			pair, rest = nextPair(rest)
			if !isPair(pair, name) {
				continue
			}
			if count == 0 {
				value = pair[len(name)+1:]
			}
			count++
		}
	}
	return value, count
}

// Cookies appends the values of a cookie to dst, at most limit of them, in order.
func (r *Request) Cookies(dst [][]byte, name string, limit int) [][]byte {
	if r.cookies == 0 {
		return dst
	}
	for i := range r.Fields {
		if r.Fields[i].Kind != KindCookie {
			continue
		}
		rest := r.Value(&r.Fields[i])
		for len(rest) > 0 && len(dst) < limit {
			var pair []byte
			pair, rest = nextPair(rest)
			if isPair(pair, name) {
				dst = append(dst, bytes.Trim(pair[len(name)+1:], `"`))
			}
		}
	}
	return dst
}

func nextPair(b []byte) (pair, rest []byte) {
	if i := bytes.IndexByte(b, ';'); i >= 0 {
		return trimSpace(b[:i]), b[i+1:]
	}
	return trimSpace(b), nil
}

func isPair(pair []byte, name string) bool {
	return len(pair) > len(name) && pair[len(name)] == '=' && string(pair[:len(name)]) == name
}

// isOwn reports whether a pair is of a cookie, or of one whose name goes on with one of the endings.
func isOwn(pair []byte, name string, endings []string) bool {
	if len(pair) <= len(name) || string(pair[:len(name)]) != name {
		return false
	}
	for _, ending := range endings {
		if isPair(pair[len(name):], ending) {
			return true
		}
	}
	return pair[len(name)] == '='
}

// appendCookie appends a Cookie field without what the upstream must not see; nothing when no other cookie is left.
func appendCookie(dst []byte, h *Head, f *Field, e *Edits) []byte {
	rest := h.Value(f)
	start := len(dst)
	dst = append(dst, "Cookie: "...)
	empty := len(dst)
	for len(rest) > 0 {
		var pair []byte
		pair, rest = nextPair(rest)
		if len(pair) == 0 || e.StripCookie != "" && isOwn(pair, e.StripCookie, e.StripAlso) || e.BarCookie != "" && isPair(pair, e.BarCookie) {
			continue
		}
		if len(dst) > empty {
			dst = append(dst, "; "...)
		}
		dst = appendPair(dst, pair, e.TrimCookie)
	}
	if len(dst) == empty {
		return dst[:start]
	}
	return append(dst, "\r\n"...)
}

// appendPair appends a cookie without what trim takes off its value.
func appendPair(dst, pair []byte, trim func(name, value []byte) int) []byte {
	if trim == nil {
		return append(dst, pair...)
	}
	eq := bytes.IndexByte(pair, '=')
	if eq < 0 {
		return append(dst, pair...)
	}
	n := trim(pair[:eq], pair[eq+1:])
	return append(append(dst, pair[:eq+1]...), pair[eq+1+n:]...)
}

// SetsCookie reports whether a browser could take a Set-Cookie field's value for one that sets the cookie: blanks around the name
// do not count (RFC 6265, section 5.2), and a nameless cookie whose value begins with the name is sent back as if it had that name.
func SetsCookie(value []byte, name string) bool {
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t' || value[0] == '=') {
		value = value[1:]
	}
	if len(value) < len(name) || string(value[:len(name)]) != name {
		return false
	}
	rest := value[len(name):]
	return len(rest) == 0 || rest[0] == '=' || rest[0] == ' ' || rest[0] == '\t' || rest[0] == ';'
}
