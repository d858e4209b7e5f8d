package http1

import "encoding/binary"

const (
	isToken uint8 = 1 << iota // tchar, RFC 9110, 5.6.2
	isPath                    // may stand in a path
	isQuery                   // may stand in a query
	isHost                    // may stand in a registered name
	isHex
)

var charClass = func() (t [256]uint8) {
	for c := 0x21; c < 0x7f; c++ {
		if c != '#' {
			t[c] |= isQuery
			if c != '\\' && c != '?' {
				t[c] |= isPath
			}
		}
	}
	add := func(s string, class uint8) {
		for i := range len(s) {
			t[s[i]] |= class
		}
	}
	const digits, lower, upper = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	add(digits+lower+upper, isToken|isHost)
	add("!#$%&'*+-.^_`|~", isToken)
	add("-._~", isHost)
	add(digits+"abcdefABCDEF", isHex)
	return t
}()

func allOf(b []byte, class uint8) bool {
	for _, c := range b {
		if charClass[c]&class == 0 {
			return false
		}
	}
	return true
}

// lower maps ASCII letters to lower case without a branch on the table.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// FoldsTo reports whether b is s, which must be lower case, ignoring ASCII case.
func FoldsTo(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		if lower(b[i]) != s[i] {
			return false
		}
	}
	return true
}

// EqualFold reports whether two byte strings are equal ignoring ASCII case.
func EqualFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func foldPrefix(b []byte, s string) bool { return len(b) >= len(s) && FoldsTo(b[:len(s)], s) }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// cleanValue reports whether b holds only HTAB, SP, visible ASCII and obs-text: what a field value may hold.
// Eight bytes at a time: a profile of the parser showed the bytewise loop at a third of it.
func cleanValue(b []byte) bool {
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		low := (w - ones*0x20) & ^w & highs     // some byte below 0x20 (borrows only add false alarms)
		del := (w ^ ones*0x7f) - ones           // zero byte where DEL was
		del &= ^(w ^ ones*0x7f) & highs         // its high bit
		if low|del != 0 && !cleanBytes(b[:8]) { // HTAB, or a false alarm, or real
			return false
		}
		b = b[8:]
	}
	return cleanBytes(b)
}

func cleanBytes(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// parseLength reads a Content-Length: one to eighteen digits, nothing else.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// appendUint appends n in decimal.
func appendUint(dst []byte, n int64) []byte {
	var tmp [20]byte
	i := len(tmp)
	for {
		i--
		tmp[i] = byte('0' + n%10)
		n /= 10
		if n == 0 {
			return append(dst, tmp[i:]...)
		}
	}
}

// appendHex appends n in lower-case hexadecimal.
func appendHex(dst []byte, n int64) []byte {
	const digits = "0123456789abcdef"
	var tmp [16]byte
	i := len(tmp)
	for {
		i--
		tmp[i] = digits[n&15]
		n >>= 4
		if n == 0 {
			return append(dst, tmp[i:]...)
		}
	}
}
