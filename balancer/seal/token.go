package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// tokenLen is the length of a token in a cookie: ten characters carry 50 bits,
// enough that two of the few instances that exist at a time never share one.
const tokenLen = 10

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

// Token names an instance in a sticky cookie without telling its address. It is
// the first 50 bits of an HMAC, written as ten characters of lower-case base32.
type Token uint64

// NewToken returns the token of an instance under a session key:
// the leading bits of HMAC-SHA256(secret, instanceID).
func NewToken(secret []byte, instanceID string) Token {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(instanceID))
	return Token(binary.BigEndian.Uint64(m.Sum(nil)) >> 14)
}

// Append appends the ten characters of t to dst.
func (t Token) Append(dst []byte) []byte {
	for shift := 45; shift >= 0; shift -= 5 {
		dst = append(dst, base32[t>>shift&31])
	}
	return dst
}

// String returns the ten characters of t.
func (t Token) String() string { return string(t.Append(make([]byte, 0, tokenLen))) }

// ParseToken reads the ten characters of a token and reports whether they were
// ten characters of lower-case base32.
func ParseToken(b []byte) (Token, bool) {
	if len(b) != tokenLen {
		return 0, false
	}
	var t Token
	var bad uint8
	for _, c := range b {
		v := decode32[c]
		bad |= v
		t = t<<5 | Token(v&31)
	}
	return t, bad < 32
}
