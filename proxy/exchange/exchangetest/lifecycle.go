package exchangetest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func drain(t *testing.T, mk rig.Maker) {
	release := make(chan struct{})
	o := rig.NewOrigin(t, func(_ int, _ string, c net.Conn) bool {
		<-release
		_, _ = io.WriteString(c, table.Hello)
		return true
	})
	addr, d := rig.Start(t, mk, rig.Options(rig.With(o)))
	busy, idle := rig.Dial(t, addr), rig.Dial(t, addr)
	_, _ = io.WriteString(busy, table.Get)
	rig.Eventually(t, "the request has arrived", func() bool { return len(o.Requests()) == 1 && d.Stats().Clients == 2 })
	done := make(chan error)
	go func() { done <- d.Shutdown(context.Background()) }()
	if b, err := io.ReadAll(idle); len(b) != 0 || err != nil {
		t.Errorf("idle connection: %q %v", b, err)
	}
	close(release)
	b, err := io.ReadAll(busy)
	if want := "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"; string(b) != want || err != nil {
		t.Errorf("got %q %v", b, err)
	}
	_ = busy.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("still listening")
	}
}

// stopAccepting: a driver that gives its listeners up goes on with what it has, also with those who have not said anything yet, and lets
// whoever else holds the socket have the connections that come later.
func stopAccepting(t *testing.T, mk rig.Maker) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Skipf("sockets are not shared here: %v", err)
	}
	defer file.Close()
	successor, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	opt := rig.Options(rig.With(rig.NewOrigin(t, rig.Always(table.Hello))))
	opt.Listeners = []exchange.Listener{{Listener: ln}}
	addr, d := rig.Start(t, mk, opt)
	used, silent := rig.Dial(t, addr), rig.Dial(t, addr)
	_, _ = io.WriteString(used, table.Get)
	rig.Expect(t, used, table.Hello)
	rig.Eventually(t, "both are accepted", func() bool { return d.Stats().Clients == 2 })

	d.StopAccepting()
	for _, c := range []net.Conn{used, silent} {
		_, _ = io.WriteString(c, table.Get)
		rig.Expect(t, c, table.Hello)
	}
	var wg sync.WaitGroup
	defer func() { _ = successor.Close(); wg.Wait() }()
	wg.Go(func() {
		for c, err := successor.Accept(); err == nil; c, err = successor.Accept() {
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = io.WriteString(c, "successor")
			_ = c.Close()
		}
	})
	// One that came before the driver had let go is the driver's; nobody is left without an answer.
	rig.Eventually(t, "the successor accepts", func() bool {
		c := rig.Dial(t, addr)
		defer c.Close()
		_, _ = io.WriteString(c, table.Get)
		first := make([]byte, len("successor"))
		if _, err := io.ReadFull(c, first); err != nil {
			t.Fatal(err)
		}
		return string(first) == "successor"
	})
}

// ends: the end of a client's bytes that comes with its last requests ends the connection when they are answered, also on one that has
// been in use for a while.
func ends(t *testing.T, mk rig.Maker) {
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(rig.NewOrigin(t, rig.Always(table.Hello)))))
	for n := range 20 {
		c := rig.Dial(t, addr)
		for range n % 3 {
			_, _ = io.WriteString(c, table.Get)
			rig.Expect(t, c, table.Hello)
		}
		_, _ = io.WriteString(c, table.Get+table.Get)
		_ = c.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(c); string(b) != table.Hello+table.Hello || err != nil {
			t.Fatalf("after %d requests: got %q %v", n%3, b, err)
		}
	}
}

// originEnds: an origin that ends its side with its answer, without a word and without closing, costs no client anything.
func originEnds(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, table.Hello)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, br)
	})
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	c := rig.Dial(t, addr)
	for range 20 {
		_, _ = io.WriteString(c, table.Get)
		rig.Expect(t, c, table.Hello)
	}
}

func proxyIn(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	opt := rig.Options(rig.With(o))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []exchange.Listener{{Listener: ln, ProxyFrom: loopback}}
	addr, _ := rig.Start(t, mk, opt)
	for _, head := range []string{
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n",
		string(http1.AppendProxy(nil, 2, addrPort("192.0.2.7:4711"), addrPort("192.0.2.1:80"))),
	} {
		if got := rig.Exchange(t, addr, head+table.Get); got != table.Hello {
			t.Errorf("%q: got %q", head, got)
		}
		if got := rig.Exchange(t, addr, head[:3], head[3:], table.Get); got != table.Hello {
			t.Errorf("%q in pieces: got %q", head, got)
		}
	}
	for _, r := range o.Requests() {
		if !strings.Contains(r, "X-Forwarded-For: 192.0.2.7\r\n") {
			t.Errorf("origin got %q", r)
		}
	}
	if got := strings.TrimSuffix(rig.Exchange(t, addr, table.Get), "<reset>"); got != "" {
		t.Errorf("without the header: got %q", got)
	}
}

func park(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.NewOrigin(t, rig.Always(table.Hello)))
	h.Decide = func(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		if d.Parked < 2 {
			d.Verdict, d.ParkFor = exchange.Park, 5*time.Millisecond
		}
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, table.Get); got != table.Hello {
		t.Errorf("got %q", got)
	}
}

// parkWoken: a parked request goes on when it is woken, not when a timer looks; calls that come too late hurt nobody.
func parkWoken(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.NewOrigin(t, rig.Always(table.Hello)))
	wakes := make(chan func(), 100)
	var free atomic.Bool
	h.Decide = func(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		if d.Parked == 0 {
			wakes <- d.Wake
		}
		if !free.Load() {
			d.Verdict, d.ParkFor = exchange.Park, time.Hour
		}
	}
	addr, driver := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	var old []func()
	for range 20 {
		_, _ = io.WriteString(c, table.Get)
		wake := <-wakes
		free.Store(true)
		wake()
		old = append(old, wake)
		rig.Expect(t, c, table.Hello)
		free.Store(false)
		for _, f := range old {
			f()
		}
	}
	_, _ = io.WriteString(c, table.Get)
	wake := <-wakes
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = driver.Shutdown(ctx)
	wake()
	if b, err := io.ReadAll(c); len(b) > 0 {
		t.Errorf("a driver that was stopped answered %q %v", b, err)
	}
}

func clientLeaves(t *testing.T, mk rig.Maker) {
	gone := make(chan struct{})
	o := rig.NewRawOrigin(t, func(_ int, _ net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.Copy(io.Discard, br)
		close(gone)
	})
	h := rig.With(o)
	addr, d := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, table.Get)
	rig.Eventually(t, "it has arrived", func() bool { return o.Accepted() == 1 })
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	select {
	case <-gone:
	case <-time.After(rig.Patience):
		t.Fatal("the origin still works for a client that left")
	}
	rig.Eventually(t, "the record says so", func() bool { r := h.Records(); return len(r) == 1 && r[0].Cause == account.CauseClient })
	rig.Eventually(t, "nothing is left", func() bool { return d.Stats().Clients == 0 && d.Stats().Upstreams == 0 })
}

func connLimit(t *testing.T, mk rig.Maker) {
	opt := rig.Options(rig.With(rig.NewOrigin(t, rig.Always(table.Hello))))
	opt.MaxConns = 2
	addr, d := rig.Start(t, mk, opt)
	a, b := rig.Dial(t, addr), rig.Dial(t, addr)
	rig.Eventually(t, "both are in", func() bool { return d.Stats().Clients == 2 })
	if got := rig.Exchange(t, addr, table.Get); !strings.HasPrefix(got, "HTTP/1.1 503 ") {
		t.Errorf("got %q", got)
	}
	_ = a.Close()
	rig.Eventually(t, "one has left", func() bool { return d.Stats().Clients == 1 })
	if got := rig.Exchange(t, addr, table.Get); got != table.Hello {
		t.Errorf("got %q", got)
	}
	_ = b.Close()
}
