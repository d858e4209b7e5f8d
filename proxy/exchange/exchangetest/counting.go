package exchangetest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// counting: a record tells every byte that the client sent for a request, head and framing included, and none of the next one's.
func counting(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	h := with(o)
	addr, _ := Start(t, mk, options(h))
	large := strings.Repeat("x", 300_000)
	sent := []string{
		get,
		get,
		post + "\r\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + large,
		"\r\n" + get,
	}
	c := Dial(t, addr)
	for _, s := range sent {
		_, _ = io.WriteString(c, s)
		Expect(t, c, hello)
	}
	piped := []string{get, post + "\r\nhello", "GET /longer HTTP/1.1\r\nHost: a\r\n\r\n"}
	_, _ = io.WriteString(c, strings.Join(piped, ""))
	Expect(t, c, strings.Repeat(hello, len(piped)))
	sent = append(sent, piped...)
	Eventually(t, "all are recorded", func() bool { return len(h.Records()) == len(sent) })
	for i, r := range h.Records() {
		if r.In != int64(len(sent[i])) {
			t.Errorf("request %d: %d bytes recorded, %d sent", i, r.In, len(sent[i]))
		}
	}
}

// countingTunnel: so does the record of an upgraded connection, and of a request that is refused.
func countingTunnel(t *testing.T, mk New) {
	h := with(echo(t))
	addr, _ := Start(t, mk, options(h))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, upgrade)
	Expect(t, c, switched+"first")
	message := strings.Repeat("m", 50_000)
	_, _ = io.WriteString(c, message)
	Expect(t, c, message)
	_ = c.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
	Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
	bad := "GET / HTTP/1.1\r\nHost : a\r\n\r\n"
	Exchange(t, addr, bad)
	Eventually(t, "the refusal is recorded", func() bool { return len(h.Records()) == 2 })
	for i, want := range []int{len(upgrade) + len(message), len(bad)} {
		if r := h.Records()[i]; r.In != int64(want) {
			t.Errorf("record %d: %d bytes, %d sent", i, r.In, want)
		}
	}
}

// wrongAccept: an origin that does not know the key has not switched to WebSocket. The client gets 502, its connection is closed, what it
// sent already goes nowhere, and the record says why.
func wrongAccept(t *testing.T, mk New) {
	const bare = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	for name, answer := range map[string]string{
		"missing": bare + "\r\n", "wrong": bare + "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
		"longer": bare + strings.Replace(accept, "=\r\n", "=x\r\n", 1) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
				readHead(br)
				_, _ = io.WriteString(c, answer)
				b, _ := io.ReadAll(br)
				got <- string(b)
			})
			h := with(o)
			addr, _ := Start(t, mk, options(h))
			if b := Exchange(t, addr, upgrade); !wild(b, refused("502 Bad Gateway")) {
				t.Errorf("got %q", b)
			}
			if b := <-got; b != "" {
				t.Errorf("the origin got %q", b)
			}
			Eventually(t, "it is recorded", func() bool { return len(h.Records()) == 1 })
			if r := h.Records()[0]; r.Status != 502 || r.Fault.Error() != "wrong Sec-WebSocket-Accept" {
				t.Errorf("record %+v", r)
			}
		})
	}
}
