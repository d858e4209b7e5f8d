package exchangetest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

// dribble writes a byte at a time, so that every record comes in pieces and reading it would block again and again.
type dribble struct{ net.Conn }

func (d dribble) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := d.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func overTLS(t *testing.T, mk rig.Maker) {
	cert, pool := rig.Certificate(t)
	big := "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536)
	o := rig.NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		text := table.Hello
		if strings.HasPrefix(r, "GET /big ") {
			text = big
		}
		_, err := io.WriteString(c, text)
		return err == nil
	})
	opt := rig.Options(rig.With(o))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []exchange.Listener{{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}}}
	addr, d := rig.Start(t, mk, opt)
	body := strings.Repeat("x", 300_000)
	upload := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: version, MaxVersion: version}
		c := tls.Client(dribble{rig.Dial(t, addr)}, cfg)
		for range 3 {
			_, _ = io.WriteString(c, table.Get+"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
			rig.Expect(t, c, table.Hello+big)
		}
		_ = c.Close()
		c = tls.Client(rig.Dial(t, addr), cfg)
		_, _ = io.WriteString(c, upload+table.Get)
		rig.Expect(t, c, table.Hello+table.Hello)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if b, err := io.ReadAll(c); err != nil || string(b) != "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello" {
			t.Errorf("closing: %q %v", b, err)
		}
		_ = c.Close()
	}
	raw := rig.Dial(t, addr)
	_, _ = io.WriteString(raw, table.Get)
	_, _ = io.Copy(io.Discard, raw)
	rig.Eventually(t, "all clients are gone", func() bool { s := d.Stats(); return s.Clients == 0 && s.Handshakes == 5 && s.BadTLS == 1 })
	for _, r := range o.Requests() {
		if !strings.Contains(r, "X-Forwarded-Proto: https\r\n") {
			t.Fatalf("origin got %.300q", r)
		}
	}
}

func toTLS(t *testing.T, mk rig.Maker) {
	cert, pool := rig.Certificate(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	o := rig.NewOriginOn(t, ln, rig.Always(table.Hello))
	h := rig.With(o)
	h.Upstreams[0].TLS = &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	for range 5 {
		_, _ = io.WriteString(c, table.Get+rig.Post+"\r\nhello")
		rig.Expect(t, c, table.Hello+table.Hello)
	}
	h = &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: o.Addr(), TLS: &tls.Config{RootCAs: pool, ServerName: "b", MinVersion: tls.VersionTLS13}}}}
	addr, _ = rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, table.Get); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("an upstream with another name: %q", got)
	}
}

// pauseTLS: a peer that takes nothing for a while, and much later than a driver looks at its timers, gets all the rest over TLS, too: a
// client its answer, a tunnel's client its messages, an origin its upload.
func pauseTLS(t *testing.T, mk rig.Maker) {
	const size = 16 << 20
	pause := func() { time.Sleep(1500 * time.Millisecond) } // a client that pauses for longer than the second after which the goroutine driver looks at its timers: the fault under test
	cert, pool := rig.Certificate(t)
	body := strings.Repeat("0123456789abcdef", size/16)
	answers := rig.NewOrigin(t, rig.Always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body)))
	tunnels := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, rig.Switched+body)
		_, _ = io.Copy(io.Discard, br)
	})
	uploads := rig.NewRawOrigin(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
		br := bufio.NewReader(s)
		rig.ReadHead(br)
		pause()
		if n, err := io.CopyN(io.Discard, br, size); err != nil {
			t.Errorf("the origin got %d bytes: %v", n, err)
		}
		_, _ = io.WriteString(s, table.Hello)
	})
	h := rig.With(answers, tunnels, uploads)
	h.Upstreams[2].TLS = &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		switch string(r.Path) {
		case "/ws":
			d.Upstream = h.Upstreams[1]
		case "/up":
			d.Upstream = h.Upstreams[2]
		}
	}
	opt := rig.Options(h)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []exchange.Listener{{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}}
	addr, _ := rig.Start(t, mk, opt)
	upload := fmt.Sprintf("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, body)
	var wg sync.WaitGroup
	for _, row := range []struct{ send, head, body string }{
		{table.Get, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size), body}, {rig.Upgrade, rig.Switched, body}, {upload, table.Hello, ""},
	} {
		wg.Go(func() {
			c := tls.Client(rig.Dial(t, addr), &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13})
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, row.send)
			pause()
			b := make([]byte, len(row.head)+len(row.body))
			if n, err := io.ReadFull(c, b); err != nil || string(b) != row.head+row.body {
				t.Errorf("%.20q: got %d bytes: %v", row.send, n, err)
			}
		})
	}
	wg.Wait()
}
