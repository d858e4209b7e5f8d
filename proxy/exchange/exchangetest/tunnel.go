package exchangetest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
)

const upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

const switched = "HTTP/1.1 101 Switching Protocols\r\n" + accept + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// accept answers the key in upgrade (RFC 6455, 1.3).
const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

func echo(t *testing.T) *Origin {
	return rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, switched+"first")
		_, _ = io.Copy(c, br)
		_, _ = io.WriteString(c, "last")
	})
}

func tunnel(t *testing.T, mk New) {
	h := with(echo(t))
	addr, _ := Start(t, mk, options(h))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, upgrade+"early")
	Expect(t, c, switched+"firstearly")
	for i := range 100 {
		m := fmt.Sprintf("message %d", i)
		_, _ = io.WriteString(c, m)
		Expect(t, c, m)
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	go func() { _, _ = c.Write(big) }()
	Expect(t, c, string(big))
	_ = c.Close()
	Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
}

func halfClose(t *testing.T, mk New) {
	addr, _ := Start(t, mk, options(with(echo(t))))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, upgrade+"x")
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if want := switched + "firstxlast"; string(b) != want || err != nil {
		t.Errorf("got %q %v, want %q", b, err, want)
	}
}
