package tests

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/tests/harness"
)

// h2Held is a connection over HTTP/2 that does nothing by itself: it confirms neither settings nor
// a PING, as one whose other end is asleep.
type h2Held struct {
	net.Conn
	*http2.Framer
	fields *hpack.Encoder
	block  bytes.Buffer
}

// holdH2 makes one.
func holdH2(t *testing.T, addr string, roots *x509.CertPool) *h2Held {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	h := &h2Held{Conn: c, Framer: http2.NewFramer(c, c)}
	h.ReadMetaHeaders, h.fields = hpack.NewDecoder(4096, nil), hpack.NewEncoder(&h.block)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := h.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends a request as stream 1 and waits for its answer: the whole of it, or only what comes first.
func (h *h2Held) ask(t *testing.T, whole bool, fields ...string) {
	t.Helper()
	connect := false
	for i := 0; i < len(fields); i += 2 {
		connect = connect || fields[i+1] == "CONNECT"
		if err := h.fields.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.block.Bytes(), EndHeaders: true, EndStream: !connect}); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := h.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.PseudoValue("status") != "200" {
				t.Fatalf("%v is answered with %s", fields, f.PseudoValue("status"))
			}
			if !whole {
				return
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return
			}
		}
	}
}

// TestEndsBesideHTTP2: a proxy that is told to stop ends, whatever connections over HTTP/2 it has: at once beside those that rest, also if
// their other end is asleep, and with its drain time beside streams and WebSockets that go on.
func TestEndsBesideHTTP2(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	for _, engine := range []string{"loop", "conn"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			p, roots := startWithCertificate(t, "--set", "proxy.timeouts.drain=15s", "--set", "proxy.engine="+engine)
			p.AddServer("server-1")
			p.Must("deploy", "node", harness.App("node"), "--host", "localhost")
			settled(t, p, "node", 1)
			page := []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/healthz"}
			events := []string{":method", "GET", ":scheme", "https", ":authority", "localhost", ":path", "/events"}
			socket := []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "localhost", ":path", "/ws", "sec-websocket-version", "13"}
			const cut = "requests were cut at the end of the drain time"
			end := func(sig os.Signal, lasts bool, hold func()) {
				t.Helper()
				hold()
				before := len(p.Log())
				p.Signal(sig)
				began := time.Now()
				if code := p.Wait(90 * time.Second); code != 0 {
					t.Errorf("the proxy ended with %d", code)
				}
				t.Logf("%v, streams that go on %v: ended after %s", sig, lasts, time.Since(began).Round(10*time.Millisecond))
				if strings.Contains(p.Log()[before:], cut) != lasts {
					t.Errorf("%v: streams that go on %v, and the log says\n%s", sig, lasts, p.Log()[before:])
				}
				p.Restart()
				p.WaitReady()
				settled(t, p, "node", 1)
			}
			for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
				end(sig, false, func() {
					holdH2(t, p.HTTPS, roots)
					holdH2(t, p.HTTPS, roots).ask(t, true, page...)
					if _, err := net.Dial("tcp", p.HTTPS); err != nil {
						t.Fatal(err)
					}
				})
			}
			end(syscall.SIGTERM, true, func() { holdH2(t, p.HTTPS, roots).ask(t, false, events...) })
			end(os.Interrupt, true, func() { holdH2(t, p.HTTPS, roots).ask(t, false, socket...) })
		})
	}
}

// TestEndsWhileItStarts: what is told to stop ends, however far its start has come, and that is no failure.
func TestEndsWhileItStarts(t *testing.T) {
	t.Parallel()
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	u := harness.Start(t, "up", nil, "up", "--dir", harness.TempDir(t), "--http", harness.Addr(t), "--admin", harness.Addr(t), "--log-level", "info")
	early := 0
	for _, each := range []*harness.Process{a.Process, p.Process, u} {
		each.Signal(syscall.SIGTERM)
		each.Wait(2 * time.Minute)
		for n := range 10 {
			each.Restart()
			pause := harness.Patience(time.Duration(n*n) * 8 * time.Millisecond) // a slow machine has come less far
			<-time.After(pause)
			sig := []os.Signal{syscall.SIGTERM, os.Interrupt}[n%2]
			before := len(each.Log())
			each.Signal(sig)
			if code := each.Wait(2 * time.Minute); code > 0 { // below 0: the signal came before anybody listened for it
				t.Errorf("%v ended with %d when %v came after %s:\n%s", each.Args()[0], code, sig, pause, each.Log()[before:])
			}
			early += strings.Count(each.Log()[before:], "told to stop before it was ready")
		}
	}
	if t.Logf("%d were not ready yet", early); early == 0 {
		t.Error("none was told to stop while it started")
	}
}
