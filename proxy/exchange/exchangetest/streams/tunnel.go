package streams

import (
	"bufio"
	"crypto/sha1" // RFC 6455 names it
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
)

var connectFields = []string{":method: CONNECT", ":protocol: websocket", ":scheme: https", ":authority: a", ":path: /ws", "sec-websocket-version: 13"}

// echoAny is echo for the key that the proxy makes.
func echoAny(t *testing.T, proof func(string) string) *rig.Origin {
	return rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		head := rig.ReadHead(br)
		_, key, _ := strings.Cut(strings.ToLower(head), "sec-websocket-key: ")
		key, _, _ = strings.Cut(head[len(head)-len(key):], "\r\n")
		if !strings.HasPrefix(head, "GET /ws HTTP/1.1\r\n") || key == "" {
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst", proof(key))
		_, _ = io.Copy(c, br)
		_, _ = io.WriteString(c, "last")
	})
}

func tunnel(t *testing.T, mk rig.Maker) {
	h := rig.With(echoAny(t, acceptKey))
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	s := c.Open(false, connectFields...)
	got := s.Until("the first bytes", func(a *rig.H2Answer) bool { return a.Body == "first" })
	if got.Head != ":status: 200\nsec-websocket-protocol: chat\n" {
		t.Errorf("head %q", got.Head)
	}
	want := "first"
	for i := range 100 {
		m := fmt.Sprintf("message %d", i)
		want += m
		s.Send([]byte(m), false)
		s.Until(m, func(a *rig.H2Answer) bool { return a.Body == want })
	}
	big := strings.Repeat("x", 1<<20)
	want += big
	s.Send([]byte(big), true)
	if got := s.Over(); got.Body != want+"last" || !got.Ended || got.Reset != "" {
		t.Errorf("got %d bytes, %v %q", len(got.Body), got.Ended, got.Reset)
	}
	rig.Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
	if r := h.Records()[0]; r.Cause != account.CauseNone {
		t.Errorf("recorded: %+v", r)
	}
}

// acceptKey proves that a key was read (RFC 6455, 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 names it
	return base64.StdEncoding.EncodeToString(sum[:])
}

func tunnelRefused(t *testing.T, mk rig.Maker) {
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(rig.NewOrigin(t, rig.Always("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nnever")))), rig.H2Settings{})
	got := c.Open(false, connectFields...).Over()
	if got.Status() != "403" || got.Body != "never" || !got.Ended {
		t.Errorf("got %+v", got)
	}
}

func tunnelFalsely(t *testing.T, mk rig.Maker) {
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(echoAny(t, func(string) string { return "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" }))), rig.H2Settings{})
	if got := c.Open(false, connectFields...).Over(); got.Status() != "502" {
		t.Errorf("got %+v", got)
	}
}

// tunnelHalf: once one side of a tunnel has ended, the other one has no more time than a body has.
func tunnelHalf(t *testing.T, mk rig.Maker) {
	for _, byOrigin := range []bool{false, true} {
		over := make(chan struct{})
		o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
			head := rig.ReadHead(br)
			_, key, _ := strings.Cut(strings.ToLower(head), "sec-websocket-key: ")
			key, _, _ = strings.Cut(head[len(head)-len(key):], "\r\n")
			_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst", acceptKey(key))
			if byOrigin {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			<-over
		})
		h := rig.With(o)
		opt := rig.Options(h)
		opt.Timeouts.Body = 200 * time.Millisecond
		c, _ := rig.StartH2(t, mk, opt, rig.H2Settings{})
		s := c.Open(false, connectFields...)
		s.Until("the first bytes", func(a *rig.H2Answer) bool { return a.Body == "first" })
		if !byOrigin {
			s.Send(nil, true)
		}
		if got := s.Over(); got.Reset == "" && !got.Ended {
			t.Errorf("by the origin %v: got %+v", byOrigin, got)
		}
		rig.Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
		close(over)
	}
}
