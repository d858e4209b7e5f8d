package exchangetest

import (
	"bufio"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// endTLS: an answer that only the end of its connection ends is whole when the upstream says so in TLS, and cut when the connection just
// ends or breaks, as it does when a process is killed: also when the reset comes together with the last bytes.
func endTLS(t *testing.T, mk rig.Maker) {
	cert, pool := rig.Certificate(t)
	for name, row := range map[string]struct {
		end   func(tc *tls.Conn, raw *net.TCPConn)
		whole bool
	}{
		"said":  {func(tc *tls.Conn, _ *net.TCPConn) { _ = tc.CloseWrite() }, true},
		"fin":   {func(_ *tls.Conn, raw *net.TCPConn) { _ = raw.CloseWrite() }, false},
		"reset": {func(_ *tls.Conn, raw *net.TCPConn) { _ = raw.SetLinger(0); _ = raw.Close() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := rig.NewRawOrigin(t, func(n int, c net.Conn, _ *bufio.Reader) {
				tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
				br := bufio.NewReader(tc)
				rig.ReadHead(br)
				_, _ = tc.Write([]byte("HTTP/1.1 200 OK\r\n\r\nhalf of "))
				if n%2 == 0 {
					time.Sleep(time.Duration(n) * time.Millisecond) // the head has been read, or comes with the end
				}
				row.end(tc, c.(*net.TCPConn))
				_, _ = br.ReadByte()
			})
			h := &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: o.Addr(), TLS: &tls.Config{RootCAs: pool, ServerName: "a"}}}}
			addr, _ := rig.Start(t, mk, rig.Options(h))
			for range 20 {
				got := rig.Exchange(t, addr, strings.Replace(table.Get, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
				if whole := strings.HasPrefix(got, "HTTP/1.1 200 ") && strings.HasSuffix(got, "0\r\n\r\n"); whole != row.whole {
					t.Fatalf("whole is %v, want %v: %q", whole, row.whole, got)
				}
			}
		})
	}
}
