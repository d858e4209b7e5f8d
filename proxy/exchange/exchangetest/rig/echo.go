package rig

import (
	"bufio"
	"io"
	"net"
	"testing"
)

// Upgrade is a request for a WebSocket.
const Upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// Switched is the answer to it.
const Switched = "HTTP/1.1 101 Switching Protocols\r\n" + Accept + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// Accept answers the key in upgrade (RFC 6455, 1.3).
const Accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

// Echo is an origin of tunnels: it says "first", gives back what comes, and says "last" at the end.
func Echo(t *testing.T) *Origin {
	return NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		ReadHead(br)
		_, _ = io.WriteString(c, Switched+"first")
		_, _ = io.Copy(c, br)
		_, _ = io.WriteString(c, "last")
	})
}
