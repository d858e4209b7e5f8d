package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/conf"
	"portico/proxy"
	"portico/tests/support/selfsigned"
)

// certificate makes one for the names, signed by itself.
func certificate(t testing.TB, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	cert := selfsigned.New(t, names...)
	return cert, selfsigned.Trust(cert)
}

// tlsOptions returns options with TLS for the names.
func tlsOptions(t testing.TB, names ...string) (proxy.Options, *x509.CertPool) {
	cert, pool := certificate(t, names...)
	o := options()
	o.Conf.HTTPS = "127.0.0.1:0"
	o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	o.HasCertificate = func(host string) bool {
		for _, n := range names {
			if n == host {
				return true
			}
		}
		return false
	}
	return o, pool
}

// h2 returns a client that speaks HTTP/2 to the proxy.
func (f *front) h2(pool *x509.CertPool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	tr := &http.Transport{
		Protocols:       protocols,
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", f.tls)
		},
	}
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: waitTime}
}

// TestHTTP2: the same site, the same stickiness, over HTTP/2.
func TestHTTP2(t *testing.T) {
	a, b := newApp(t, "a"), newApp(t, "b")
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(a.addr, b.addr))
	c := f.h2(pool)
	resp, first := get(t, c, "https://shop.test/")
	if resp.ProtoMajor != 2 || resp.StatusCode != 200 {
		t.Fatalf("HTTP/%d %d", resp.ProtoMajor, resp.StatusCode)
	}
	cookie := pinned(resp)
	for _, want := range []string{"; Secure", "; HttpOnly", "; Path=/", "; SameSite=Lax"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q lacks %s", cookie, want)
		}
	}
	value, _, _ := strings.Cut(cookie, ";")
	for range 10 {
		if _, body := get(t, c, "https://shop.test/", "Cookie", value); body[:1] != first[:1] {
			t.Errorf("got %q after %q", body, first)
		}
	}
	resp, err := c.Post("https://shop.test/", "text/plain", strings.NewReader(strings.Repeat("x", 300<<10)))
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("POST: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

// TestTLSHTTP1: the guard works below TLS as well.
func TestTLSHTTP1(t *testing.T) {
	w := &witness{}
	addr, _ := origin(t, w.ServeHTTP)
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(addr))
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n":                                              "HTTP/1.1 200 ",
		"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":      "HTTP/1.1 400 ",
		"GET / HTTP/1.1\r\nHost: shop.test\r\nX : y\r\n\r\n":                                                          "HTTP/1.1 400 ",
		"GET / HTTP/1.1\r\nHost: shop.test\r\nX: y\nZ: 1\r\n\r\n":                                                     "HTTP/1.1 400 ",
		"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n1;\n\r\na\r\n0\r\n\r\nGET / HTTP/1.": "HTTP/1.1 400 ",
	} {
		c, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test"})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(waitTime))
		_, _ = io.WriteString(c, request)
		b, _ := io.ReadAll(c)
		_ = c.Close()
		if !strings.HasPrefix(string(b), want) || bytes.Count(b, []byte("HTTP/1.1 ")) != 1 {
			t.Errorf("%.60q: got %.100q, want %q once", request, b, want)
		}
	}
	if _, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
}

// TestMisdirected: a connection that was opened for one host does not serve
// another whose TLS policy differs (H5); one spelling is as good as another (H4).
func TestMisdirected(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	o, pool := tlsOptions(t, "shop.test", "same.test", "plain.test", "inner.test")
	sites := []conf.Site{site(addr)}
	for name, mode := range map[string]string{"same": "auto", "plain": "off", "inner": "internal"} {
		c := site(addr)
		c.Name, c.Hosts, c.TLS.Mode = name, []string{name + ".test"}, mode
		sites = append(sites, c)
	}
	f := start(t, o, sites...)
	for _, tt := range []struct {
		sni, host string
		want      int
	}{
		{"shop.test", "shop.test", 200},
		{"shop.test", "SHOP.test.", 200},
		{"shop.test", "Shop.Test:443", 200},
		{"shop.test", "same.test", 200},
		{"shop.test", "inner.test", 421},
		{"shop.test", "INNER.test.:443", 421},
		{"inner.test", "inner.test", 200},
		{"plain.test", "plain.test", 421},
		{"shop.test", "nobody.test", 404},
	} {
		c, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: tt.sni})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(waitTime))
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", tt.host)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != tt.want {
			t.Errorf("SNI %s, Host %s: %v %v, want %d", tt.sni, tt.host, resp, err, tt.want)
		}
		_ = c.Close()
	}
}

// crumbs writes the first TLS records, of the handshake, as records of one byte each.
type crumbs struct {
	net.Conn
	done bool
}

func (c *crumbs) Write(p []byte) (int, error) {
	if c.done || len(p) < 5 || p[0] != 22 {
		return c.Conn.Write(p)
	}
	c.done = true
	var out []byte
	for rest := p; len(rest) >= 5; {
		n := int(rest[3])<<8 | int(rest[4])
		for _, b := range rest[5 : 5+n] {
			out = append(out, rest[0], rest[1], rest[2], 0, 1, b)
		}
		rest = rest[5+n:]
	}
	_, err := c.Conn.Write(out)
	return len(p), err
}

// TestHelloInCrumbs: a ClientHello in records of one byte gets the certificate and the policy of
// the host that it names, like any other (A5).
func TestHelloInCrumbs(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "here") })
	o, pool := tlsOptions(t, "shop.test", "inner.test")
	inner := site(addr)
	inner.Name, inner.Hosts, inner.TLS.Mode = "inner", []string{"inner.test"}, "internal"
	f := start(t, o, site(addr), inner)
	for _, tt := range []struct {
		sni, host string
		want      int
	}{{"shop.test", "shop.test", 200}, {"inner.test", "inner.test", 200}, {"shop.test", "inner.test", 421}, {"inner.test", "shop.test", 421}} {
		raw, err := net.Dial("tcp", f.tls)
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.SetDeadline(time.Now().Add(waitTime))
		c := tls.Client(&crumbs{Conn: raw}, &tls.Config{RootCAs: pool, ServerName: tt.sni})
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", tt.host)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != tt.want {
			t.Errorf("SNI %s, Host %s: %v %v, want %d", tt.sni, tt.host, resp, err, tt.want)
		}
		_ = raw.Close()
	}
}

// TestRedirect: plain HTTP goes to TLS once there is a certificate; the target is
// this host whatever the path says (H6); ACME comes first and never reaches a site (A8).
func TestRedirect(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "plain") })
	o, _ := tlsOptions(t, "shop.test")
	o.Challenge = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/.well-known/acme-challenge/known" {
				fmt.Fprint(w, "token")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	other := site(addr)
	other.Name, other.Hosts = "other", []string{"other.test"}
	f := start(t, o, site(addr), other)
	_, port, _ := net.SplitHostPort(f.tls)
	for target, want := range map[string]string{
		"/a?b=c":                   "https://shop.test:" + port + "/a?b=c",
		"//evil.test/x":            "https://shop.test:" + port + "//evil.test/x",
		"/\\evil.test":             "400",
		"http://shop.test//evil/a": "https://shop.test:" + port + "//evil/a",
	} {
		answer := f.raw("GET " + target + " HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
		if want == "400" {
			if strings.Contains(answer, "Location: ") && !strings.Contains(answer, "Location: https://shop.test:"+port+"/") {
				t.Errorf("%s: %q", target, answer)
			}
			continue
		}
		if !strings.HasPrefix(answer, "HTTP/1.1 308 ") || !strings.Contains(answer, "\r\nLocation: "+want+"\r\n") {
			t.Errorf("%s: %q, want a redirect to %s", target, answer, want)
		}
	}
	if _, body := get(t, f.client(), "http://other.test/"); body != "plain" {
		t.Errorf("a host without a certificate: %q", body)
	}
	if _, body := get(t, f.client(), "http://shop.test/.well-known/acme-challenge/known"); body != "token" {
		t.Errorf("challenge: %q", body)
	}
	if resp, body := get(t, f.client(), "http://other.test/.well-known/acme-challenge/unknown"); resp.StatusCode != 404 || strings.Contains(body, "plain") {
		t.Errorf("unknown challenge: %d %q", resp.StatusCode, body)
	}
}

// TestHTTP2Fields: what HTTP/2 calls malformed resets the stream (RFC 9113, 8.1.1 and 8.2.2), and what
// HTTP/1 refuses is refused with the same status.
func TestHTTP2Fields(t *testing.T) {
	w := &witness{}
	addr, _ := origin(t, w.ServeHTTP)
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(addr))
	base := [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "shop.test"}, {":path", "/"}}
	with := func(extra ...[2]string) [][2]string { return append(append([][2]string(nil), base...), extra...) }
	replace := func(name, value string) [][2]string {
		out := with()
		for i := range out {
			if out[i][0] == name {
				out[i][1] = value
			}
		}
		return out
	}
	many := with()
	for i := range 150 {
		many = append(many, [2]string{fmt.Sprintf("x-%d", i), "y"})
	}
	large := with() // within the number of fields, beyond their size (N4)
	for i := range 90 {
		large = append(large, [2]string{fmt.Sprintf("x-%d", i), strings.Repeat("y", 180)})
	}
	for name, tt := range map[string]struct {
		fields [][2]string
		status string // "" : the stream or the connection is reset
	}{
		"sound":              {with([2]string{"te", "trailers"}), "200"},
		"connection":         {with([2]string{"connection", "close"}), ""},
		"keep-alive":         {with([2]string{"keep-alive", "1"}), ""},
		"transfer-encoding":  {with([2]string{"transfer-encoding", "chunked"}), ""},
		"upgrade":            {with([2]string{"upgrade", "websocket"}), ""},
		"te":                 {with([2]string{"te", "gzip"}), ""},
		"comma in authority": {replace(":authority", "shop.test,evil.test"), "400"},
		"user in authority":  {replace(":authority", "a@shop.test"), "400"},
		"fragment":           {replace(":path", "/a#b"), "400"},
		"relative path":      {replace(":path", "a"), ""},
		"length, no body":    {with([2]string{"content-length", "5"}), ""},
		"length of 0":        {with([2]string{"content-length", "0"}), "200"},
		"expectation":        {with([2]string{"expect", "200-ok"}), "417"},
		"star":               {replace(":path", "*"), ""},
		"trace":              {replace(":method", "TRACE"), "405"},
		"unknown host":       {replace(":authority", "nobody.test"), "404"},
		"many fields":        {many, "431"},
		"large head":         {large, "431"},
		"upper case":         {with([2]string{"X-Upper", "1"}), ""},
		"LF in value":        {with([2]string{"x", "a\r\nb"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := h2Status(t, f.tls, pool, tt.fields); got != tt.status {
				t.Errorf("status %q, want %q", got, tt.status)
			}
		})
	}
	for _, s := range w.take() {
		if s != "GET / " {
			t.Errorf("the instance saw %q", s)
		}
	}
}

// h2Status sends one request by hand and returns the status of the answer.
func h2Status(t *testing.T, addr string, pool *x509.CertPool, fields [][2]string) string {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(waitTime))
	_, _ = io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range fields {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			return ""
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}

// TestHTTP2Streams: at most a hundred at a time on a connection (N1), and a client
// that opens and resets without end is cut (N2).
func TestHTTP2Streams(t *testing.T) {
	release := make(chan struct{})
	var once sync.Once
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "portico-check" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	})
	defer once.Do(func() { close(release) })
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(addr))
	c, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(waitTime))
	_, _ = io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	_ = fr.WriteSettings()
	streams := uint32(0)
	for streams == 0 {
		frame, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			streams, _ = s.Value(http2.SettingMaxConcurrentStreams)
		}
	}
	if streams != 100 {
		t.Errorf("%d streams are offered, want 100", streams)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "shop.test"}, {":path", "/"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	first := append([]byte(nil), block.Bytes()...)
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		for {
			if _, err := fr.ReadFrame(); err != nil {
				return
			}
		}
	}()
	sent := 0
	for id := uint32(1); id < 400_000; id += 2 {
		if fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: true, EndHeaders: true}) != nil {
			break
		}
		if fr.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			break
		}
		sent++
	}
	select {
	case <-cut:
		t.Logf("cut after %d resets", sent)
	case <-time.After(waitTime):
		t.Errorf("%d resets and the connection is still open", sent)
	}
}
