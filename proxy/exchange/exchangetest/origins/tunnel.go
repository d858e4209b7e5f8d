package origins

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"portico/proxy/exchange/exchangetest/rig"
)

// tunnel: a WebSocket reaches an origin that offers extended CONNECT, over either protocol of the client's.
func tunnel(t *testing.T, mk rig.Maker) {
	o := h2Origin(t, []http2.Setting{{ID: http2.SettingEnableConnectProtocol, Val: 1}}, func(_ int, _ net.Conn, fr *http2.Framer) {
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.HeadersFrame:
				say(fr, f.StreamID, false, status200)
			case *http2.DataFrame:
				_ = fr.WriteData(f.StreamID, f.StreamEnded(), f.Data())
			}
		}
	})
	h := toward(o)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	br := bufio.NewReader(c)
	if head := rig.ReadHead(br); !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(strings.ToLower(head), "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n") {
		t.Fatalf("%q", head)
	}
	for _, word := range []string{"hello", "again"} {
		_, _ = io.WriteString(c, word)
		b := make([]byte, len(word))
		if _, err := io.ReadFull(br, b); err != nil || string(b) != word {
			t.Fatalf("%q, %v", b, err)
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(br); len(b) != 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	h2, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := h2.Open(false, ":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /chat", ":authority: a", "sec-websocket-version: 13")
	s.Until("its head", func(a *rig.H2Answer) bool { return a.Status() == "200" })
	s.Send([]byte("hello"), false)
	s.Until("it comes back", func(a *rig.H2Answer) bool { return a.Body == "hello" })
	s.Send(nil, true)
	if got := s.Over(); !got.Ended || got.Body != "hello" {
		t.Errorf("%+v", got)
	}
}

// noTunnel: one that does not offer it is asked for nothing else, and the client hears so.
func noTunnel(t *testing.T, mk rig.Maker) {
	m := newMulti(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }, 0, nil)
	h := with(m)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	for range 2 {
		got := rig.Exchange(t, addr, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 502 ") {
			t.Errorf("%q", got)
		}
	}
	for _, r := range h.Records() {
		if r.Fault.Error() != "the instance takes no WebSocket over HTTP/2" {
			t.Errorf("%+v", r)
		}
	}
}
