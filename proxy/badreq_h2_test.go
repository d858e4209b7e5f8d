package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"portico/proxy/accesslog"
	"portico/tests/support/written"
)

// malformedRequests are what HTTP/2 itself calls malformed (RFC 9113, 8.1.1): their streams are reset.
var malformedRequests = map[string][]string{
	"no path":              {":method: GET", ":scheme: https", ":authority: shop.test"},
	"connection":           {":method: GET", ":scheme: https", ":authority: shop.test", ":path: /", "connection: close"},
	"pseudo behind fields": {":method: GET", ":scheme: https", ":path: /", "x-a: b", ":authority: shop.test"},
	"two hosts":            {":method: GET", ":scheme: https", ":authority: shop.test", ":path: /", "host: other.test"},
	"a length, no body":    {":method: POST", ":scheme: https", ":authority: shop.test", ":path: /", "content-length: 5"},
}

// TestMalformedHTTP2IsLogged: the access log has a request that HTTP/2 itself calls malformed as it has a bad one of HTTP/1.1, in both
// forms and with both drivers, and so have the counters; the requests behind it on the connection are served.
func TestMalformedHTTP2IsLogged(t *testing.T) {
	addr, _ := origin(t, func(http.ResponseWriter, *http.Request) {})
	for _, engine := range engines() {
		for _, format := range []accesslog.Format{accesslog.JSON, accesslog.HAProxy} {
			t.Run(engine+" "+string(format), func(t *testing.T) {
				o, pool := tlsOptions(t, "shop.test")
				o.Conf.Engine = engine
				log := &written.Buffer{}
				l, err := accesslog.New(format, "-", log)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
				o.AccessLog = l
				f := start(t, o, site(addr))
				badHTTP1(t, f.tls, pool)
				f.eventually("HTTP/1.1's line", func() bool { return strings.Count(log.String(), "\n") == 1 })
				want := badLine(t, format, log.String())
				before := f.Snapshot().Frontends[1]

				h := newH2(t, f.tls, pool, "shop.test")
				for name, fields := range malformedRequests {
					if got := h.ask(fields...); got != "PROTOCOL_ERROR" {
						t.Errorf("%s: %s", name, got)
					}
				}
				if got := h.ask(":method: GET", ":scheme: https", ":authority: shop.test", ":path: /"); got != "200" {
					t.Errorf("the next request: %s", got)
				}
				n := uint64(len(malformedRequests))
				f.eventually("every line", func() bool { return strings.Count(log.String(), "\n") == int(n)+2 })
				lines := strings.SplitAfter(log.String(), "\n")
				for _, line := range lines[1 : n+1] {
					if got := badLine(t, format, line); got != want {
						t.Errorf("%s\nwant, but for the time and the port, as of HTTP/1.1\n%s", got, want)
					}
				}
				after := f.Snapshot().Frontends[1]
				if bad, all, h2 := after.Errors-before.Errors, after.Requests-before.Requests, after.H2Requests-before.H2Requests; bad != n || all != n+1 || h2 != n+1 {
					t.Errorf("%d bad ones of %d requests, %d over HTTP/2; want %d of %d", bad, all, h2, n, n+1)
				}
			})
		}
	}
}

// TestMalformedHTTP2Flood: a client that sends nothing but malformed requests loses its connection after a thousand or so, of which each
// has its line, and what they held is given back.
func TestMalformedHTTP2Flood(t *testing.T) {
	const most, enough = 1500, 900
	addr, _ := origin(t, func(http.ResponseWriter, *http.Request) {})
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			o, pool := tlsOptions(t, "shop.test")
			o.Conf.Engine = engine
			f := start(t, o, site(addr))
			h := newH2(t, f.tls, pool, "shop.test")
			go func() {
				for id := uint32(1); h.fr.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, []byte{0x82}) == nil; id += 2 { // ":method: GET" alone, and open
				}
			}()
			resets, refused := 0, 0
			for {
				frame, err := h.fr.ReadFrame()
				if err != nil {
					break
				}
				if r, ok := frame.(*http2.RSTStreamFrame); ok && r.ErrCode == http2.ErrCodeRefusedStream { // more than may be open at once
					refused++
				} else if ok {
					resets++
				}
			}
			f.eventually("the connection is counted as ended by a rule", func() bool { return f.Snapshot().Frontends[1].DeniedConns == 1 })
			bad := int(f.Snapshot().Frontends[1].Errors)
			if n := bad + refused; n < enough || n > most || resets > bad {
				t.Errorf("%d requests are counted, %d streams reset, %d refused", bad, resets, refused)
			}
			f.eventually("every line", func() bool { return strings.Count(f.log.String(), `"status":400`) == bad })
			f.eventually("no stream is left", func() bool { return f.Snapshot().Frontends[1].Conns == 0 })
		})
	}
}

// badHTTP1 sends a request over HTTP/1.1 that cannot be read, and waits for the end.
func badHTTP1(t *testing.T, addr string, pool *x509.CertPool) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "shop.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	_, _ = io.WriteString(c, "no request\r\n\r\n")
	if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 400 ") {
		t.Fatalf("got %.100q", b)
	}
}

// badLine is what a line of the access log says of every bad request alike. Bytes differ: one is answered, the other reset.
func badLine(t *testing.T, format accesslog.Format, line string) string {
	t.Helper()
	if format == accesslog.HAProxy {
		if !strings.Contains(line, "<BADREQ>") {
			t.Errorf("no bad request: %s", line)
		}
		part := strings.Fields(line) // client [date] frontend server times status bytes - - end …
		return strings.Join(append([]string{part[2], part[3], part[5]}, part[7:10]...), " ") + part[len(part)-1]
	}
	m := map[string]any{}
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	maps.DeleteFunc(m, func(k string, _ any) bool {
		return k == "time" || k == "port" || k == "id" || k == "total_ms" || strings.HasPrefix(k, "bytes_")
	})
	b, _ := json.Marshal(m) // it came out of JSON
	return string(b)
}
