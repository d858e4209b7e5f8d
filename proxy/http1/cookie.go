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

// appendCookie appends a Cookie field without the pairs of one cookie and those with one of the endings; nothing when no other is left.
func appendCookie(dst []byte, h *Head, f *Field, name string, also []string) []byte {
	rest := h.Value(f)
	start := len(dst)
	dst = append(dst, "Cookie: "...)
	empty := len(dst)
	for len(rest) > 0 {
		var pair []byte
		pair, rest = nextPair(rest)
		if len(pair) == 0 || isOwn(pair, name, also) {
			continue
		}
		if len(dst) > empty {
			dst = append(dst, "; "...)
		}
		dst = append(dst, pair...)
	}
	if len(dst) == empty {
		return dst[:start]
	}
	return append(dst, "\r\n"...)
}
