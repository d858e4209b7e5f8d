package proxy_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestCutForAnOldClient: HTTP/1.0 knows no chunks, so only a reset, or over TLS an end without its alert, tells an answer that
// broke off from a whole one (R1, RFC 9112 section 8).
func TestCutForAnOldClient(t *testing.T) {
	addr := rawOrigin(t, serveRaw(func(r *http.Request) string {
		if r.URL.Path == "/whole" {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
		}
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n"
	}))
	o, pool := tlsOptions(t, "shop.test")
	s := site(addr)
	s.TLS.Redirect = "off"
	f := start(t, o, s)
	for _, path := range []string{"/cut", "/whole"} {
		for name, dial := range map[string]func() (net.Conn, error){
			"plain": func() (net.Conn, error) { return net.Dial("tcp", f.http) },
			"TLS": func() (net.Conn, error) {
				return tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test"})
			},
		} {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "GET "+path+" HTTP/1.0\r\nHost: shop.test\r\n\r\n")
			_ = c.SetReadDeadline(time.Now().Add(waitTime))
			got, err := io.ReadAll(c)
			if (err == nil) != (path == "/whole") || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s over %s: %q, then %v", path, name, got, err)
			}
			_ = c.Close()
		}
	}
}
