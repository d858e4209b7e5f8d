package exchangetest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// counting: a record tells every byte that the client sent for a request, head and framing included, and none of the next one's.
func counting(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	h := rig.With(o)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	large := strings.Repeat("x", 300_000)
	sent := []string{
		table.Get,
		table.Get,
		rig.Post + "\r\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + large,
		"\r\n" + table.Get,
	}
	c := rig.Dial(t, addr)
	for _, s := range sent {
		_, _ = io.WriteString(c, s)
		rig.Expect(t, c, table.Hello)
	}
	piped := []string{table.Get, rig.Post + "\r\nhello", "GET /longer HTTP/1.1\r\nHost: a\r\n\r\n"}
	_, _ = io.WriteString(c, strings.Join(piped, ""))
	rig.Expect(t, c, strings.Repeat(table.Hello, len(piped)))
	sent = append(sent, piped...)
	rig.Eventually(t, "all are recorded", func() bool { return len(h.Records()) == len(sent) })
	for i, r := range h.Records() {
		if r.In != int64(len(sent[i])) {
			t.Errorf("request %d: %d bytes recorded, %d sent", i, r.In, len(sent[i]))
		}
	}
}

// countingTunnel: so does the record of an upgraded connection, and of a request that is refused.
func countingTunnel(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.Echo(t))
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Upgrade)
	rig.Expect(t, c, rig.Switched+"first")
	message := strings.Repeat("m", 50_000)
	_, _ = io.WriteString(c, message)
	rig.Expect(t, c, message)
	_ = c.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
	rig.Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
	bad := "GET / HTTP/1.1\r\nHost : a\r\n\r\n"
	rig.Exchange(t, addr, bad)
	rig.Eventually(t, "the refusal is recorded", func() bool { return len(h.Records()) == 2 })
	for i, want := range []int{len(rig.Upgrade) + len(message), len(bad)} {
		if r := h.Records()[i]; r.In != int64(want) {
			t.Errorf("record %d: %d bytes, %d sent", i, r.In, want)
		}
	}
}

// wrongAccept: an origin that does not know the key has not switched to WebSocket. The client gets 502, its connection is closed, what it
// sent already goes nowhere, and the record says why.
func wrongAccept(t *testing.T, mk rig.Maker) {
	const bare = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	for name, answer := range map[string]string{
		"missing": bare + "\r\n", "wrong": bare + "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
		"longer": bare + strings.Replace(rig.Accept, "=\r\n", "=x\r\n", 1) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
				rig.ReadHead(br)
				_, _ = io.WriteString(c, answer)
				b, _ := io.ReadAll(br)
				got <- string(b)
			})
			h := rig.With(o)
			addr, _ := rig.Start(t, mk, rig.Options(h))
			if b := rig.Exchange(t, addr, rig.Upgrade); !table.Matches(b, table.Refused("502 Bad Gateway")) {
				t.Errorf("got %q", b)
			}
			if b := <-got; b != "" {
				t.Errorf("the origin got %q", b)
			}
			rig.Eventually(t, "it is recorded", func() bool { return len(h.Records()) == 1 })
			if r := h.Records()[0]; r.Status != 502 || r.Fault.Error() != "wrong Sec-WebSocket-Accept" {
				t.Errorf("record %+v", r)
			}
		})
	}
}
