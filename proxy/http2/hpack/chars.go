package hpack

import "encoding/binary"

const (
	isName  uint8 = 1 << iota // may stand in a field name: a token without capitals (RFC 9113, 8.2.1)
	isToken                   // tchar (RFC 9110, 5.6.2)
)

var charClass = func() (t [256]uint8) {
	const small = "0123456789abcdefghijklmnopqrstuvwxyz!#$%&'*+-.^_`|~"
	for i := range len(small) {
		t[small[i]] = isName | isToken
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] = isToken
	}
	return t
}()

func allOf(b []byte, class uint8) bool {
	for _, c := range b {
		if charClass[c]&class == 0 {
			return false
		}
	}
	return len(b) > 0
}

// IsToken reports whether b is a token: a method, a protocol.
func IsToken(b []byte) bool { return allOf(b, isToken) }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// cleanValue reports whether b may be a field's value as HTTP/2 has it: no NUL, LF or CR, and no white space around it (RFC 9113,
// 8.2.1). What else may not stand in one, the parser of http1 says.
func cleanValue(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if first, last := b[0], b[len(b)-1]; first == ' ' || first == '\t' || last == ' ' || last == '\t' {
		return false
	}
	for len(b) >= 8 {
		// Eight at a time: the high bit of a byte below 0x20 comes up, now and then also that of its neighbour.
		w := binary.LittleEndian.Uint64(b)
		if (w-ones*0x20) & ^w & highs != 0 && !noBreaks(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return noBreaks(b)
}

func noBreaks(b []byte) bool {
	for _, c := range b {
		if c == 0 || c == '\r' || c == '\n' {
			return false
		}
	}
	return true
}
