package exchangetest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// secured is a driver's options with a TLS listener, and a client's configuration for it.
func secured(t *testing.T, h *rig.Handler) (exchange.Options, *tls.Config) {
	t.Helper()
	cert, pool := rig.Certificate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt := rig.Options(h)
	opt.Listeners = []exchange.Listener{{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}}
	return opt, &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}
}

// stall sends the beginning of a handshake and no more.
func stall(t *testing.T, addr string) net.Conn {
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01")
	return c
}

// closes reports whether the proxy ends a connection within the deadline of Dial.
func closes(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// handshakes: a connection beyond the bound waits for its turn and is served; one that says nothing holds no place, one that goes
// away frees it, and the time limit holds for those who stall and for those who wait.
func handshakes(t *testing.T, mk rig.Maker) {
	opt, cfg := secured(t, rig.With(rig.NewOrigin(t, rig.Always(table.Hello))))
	opt.Handshakes, opt.Handshake = 2, time.Hour
	addr, d := rig.Start(t, mk, opt)
	for range 3 {
		rig.Dial(t, addr) // silent
	}
	rig.Eventually(t, "the silent ones are in", func() bool { return d.Stats().Clients == 3 })
	a, b := stall(t, addr), stall(t, addr)
	rig.Eventually(t, "both places are taken", func() bool { return d.Stats().Shaking == 2 })
	gone := stall(t, addr) // waits, and goes away before its turn
	c := tls.Client(rig.Dial(t, addr), cfg)
	served := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, table.Get)
		served <- err
	}()
	rig.Eventually(t, "both wait", func() bool { return d.Stats().Waiting == 2 })
	_ = gone.Close()
	select {
	case err := <-served:
		t.Fatalf("served beyond the bound: %v", err)
	default:
	}
	_ = a.Close()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	rig.Expect(t, c, table.Hello)
	_ = b.Close()
	rig.Eventually(t, "all places are free", func() bool { s := d.Stats(); return s.Shaking == 0 && s.Waiting == 0 })
}

// handshakeTime: the limit on the time of a handshake holds in it, and in the wait for it.
func handshakeTime(t *testing.T, mk rig.Maker) {
	opt, _ := secured(t, rig.With(rig.NewOrigin(t, rig.Always(table.Hello))))
	opt.Handshakes, opt.Handshake = 1, 100*time.Millisecond
	addr, d := rig.Start(t, mk, opt)
	var list []net.Conn
	for range 4 {
		list = append(list, stall(t, addr))
	}
	list = append(list, rig.Dial(t, addr)) // silent
	for i, c := range list {
		if !closes(c) {
			t.Errorf("connection %d was not closed in time", i)
		}
	}
	rig.Eventually(t, "nothing is left", func() bool { s := d.Stats(); return s.Clients == 0 && s.Shaking == 0 && s.Waiting == 0 })
}
