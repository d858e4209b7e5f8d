package exchangetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"portico/internal/records"
	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// unread: a kept connection that a relay ends while a POST is on its way, with the proof that nothing of it was read, costs the client
// nothing: the POST goes on a new one to the same upstream. Without that proof, or with a wrong one, it goes once only.
func unread(t *testing.T, mk rig.Maker) {
	cert, pool := rig.Certificate(t)
	for name, row := range map[string]struct {
		end  func(e *records.Ending, tc *tls.Conn, n *spoiler)
		good bool
	}{
		"proved":   {func(e *records.Ending, tc *tls.Conn, _ *spoiler) { _ = e.CloseUnread(tc) }, true},
		"wrong":    {func(e *records.Ending, tc *tls.Conn, n *spoiler) { n.on = true; _ = e.CloseUnread(tc) }, false},
		"not said": {func(_ *records.Ending, tc *tls.Conn, _ *spoiler) { _ = tc.CloseWrite() }, false},
		"answered": {func(e *records.Ending, tc *tls.Conn, _ *spoiler) {
			_, _ = io.WriteString(tc, "HTTP/1.1 100 Continue\r\n\r\n")
			_ = e.CloseUnread(tc)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := rig.NewRawOrigin(t, func(n int, c net.Conn, _ *bufio.Reader) {
				below := &spoiler{Conn: c}
				e := &records.Ending{Conn: below}
				tc := tls.Server(e, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
				br := bufio.NewReader(tc)
				var body [5]byte
				for i := 1; ; i++ {
					head := rig.ReadHead(br)
					if !strings.HasSuffix(head, "\r\n\r\n") {
						return
					}
					if i == 2 && n == 1 {
						row.end(e, tc, below)
						_, _ = io.Copy(io.Discard, br)
						return
					}
					if strings.HasPrefix(head, "POST ") {
						if _, err := io.ReadFull(br, body[:]); err != nil || string(body[:]) != "hello" {
							t.Errorf("the body is %q, %v", body, err)
						}
					}
					_, _ = io.WriteString(tc, table.Hello)
				}
			})
			h := &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: o.Addr(), TLS: &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}}}}
			addr, _ := rig.Start(t, mk, rig.Options(h))
			c := rig.Dial(t, addr)
			_, _ = io.WriteString(c, table.Get)
			rig.Expect(t, c, table.Hello)
			_, _ = io.WriteString(c, rig.Post+"\r\nhello")
			connections := 1
			if row.good {
				rig.Expect(t, c, table.Hello)
				connections = 2
			} else {
				rig.Expect(t, c, "HTTP/1.1 502 ")
			}
			if n := o.Accepted(); n != connections {
				t.Errorf("%d connections, want %d", n, connections)
			}
			rig.Eventually(t, "both are recorded as one attempt", func() bool { r := h.Records(); return len(r) == 2 && r[1].Attempts == 1 })
		})
	}
}

// spoiler changes the last byte of what is written.
type spoiler struct {
	net.Conn
	on bool
}

func (s *spoiler) Write(b []byte) (int, error) {
	if s.on {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
	}
	return s.Conn.Write(b)
}
