package http1

import (
	"bytes"
	"crypto/sha1" // RFC 6455 names it; nothing secret depends on it
	"encoding/base64"
)

const (
	acceptGUID   = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, 1.3
	maxAcceptKey = 64                                     // a valid key has 24 bytes
)

// Accepts reports whether accept is the answer to a WebSocket key (RFC 6455, 4.1). Without a key there is none.
func Accepts(key, accept []byte) bool {
	if len(key) == 0 || len(key) > maxAcceptKey {
		return false
	}
	var want [AcceptSize]byte
	return bytes.Equal(accept, AppendAccept(want[:0], key))
}

// AcceptSize is the length of an answer to a WebSocket key.
const AcceptSize = 28

// AppendAccept appends the answer to a WebSocket key, of which no more counts than is valid.
func AppendAccept(dst, key []byte) []byte {
	var b [maxAcceptKey + len(acceptGUID)]byte
	n := copy(b[:maxAcceptKey], key)
	n += copy(b[n:], acceptGUID)
	sum := sha1.Sum(b[:n])
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}
