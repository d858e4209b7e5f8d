package exchangetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
)

// owed: a client that pauses before it takes the end of the last answer gets it over TLS, too, where not the system but the driver may
// hold what it is owed when the connection closes. With small buffers, some of the sizes end just there.
func owed(t *testing.T, mk rig.Maker) {
	pause := func() { time.Sleep(6500 * time.Millisecond) } // longer than a good-bye may take, shorter than Timeouts.Write
	cert, pool := rig.Certificate(t)
	o := rig.NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		var size int
		_, _ = fmt.Sscanf(r, "GET /%d ", &size)
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
		return err == nil
	})
	opt := rig.Options(rig.With(o))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rig.Shrink(t, ln, 64<<10)
	opt.Listeners = []exchange.Listener{{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}}
	addr, _ := rig.Start(t, mk, opt)
	var wg sync.WaitGroup
	for size := 32 << 10; size < 640<<10; size += 4 << 10 {
		raw := rig.Dial(t, addr)
		_ = raw.(*net.TCPConn).SetReadBuffer(64 << 10)
		wg.Go(func() {
			c := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13})
			defer func() { _ = c.Close() }()
			_, _ = fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", size)
			pause()
			b, err := io.ReadAll(c)
			if err != nil || len(b) < size || strings.Trim(string(b[len(b)-size:]), "x") != "" {
				t.Errorf("of %d bytes came %d: %v", size, len(b), err)
			}
		})
	}
	wg.Wait()
}

// owedStop: a driver that stops leaves no connection open to a client that has not taken all that it is owed.
func owedStop(t *testing.T, mk rig.Maker) {
	cert, pool := rig.Certificate(t)
	o := rig.NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		var size int
		_, _ = fmt.Sscanf(r, "GET /%d ", &size)
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
		return err == nil
	})
	opt := rig.Options(rig.With(o))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rig.Shrink(t, ln, 64<<10)
	opt.Listeners = []exchange.Listener{{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}}
	addr, d := rig.Start(t, mk, opt)
	var list []net.Conn
	for size := 32 << 10; size < 640<<10; size += 4 << 10 {
		raw := rig.Dial(t, addr)
		_ = raw.(*net.TCPConn).SetReadBuffer(64 << 10)
		c := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13})
		_, _ = fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", size)
		list = append(list, c)
	}
	time.Sleep(time.Second) // until all that can be written is
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = d.Shutdown(ctx)
	for i, c := range list {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is still open", i)
		}
		_ = c.Close()
	}
}
