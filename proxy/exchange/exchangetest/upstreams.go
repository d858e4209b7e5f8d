package exchangetest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

func retry(t *testing.T, mk rig.Maker) {
	closing := rig.NewOrigin(t, func(int, string, net.Conn) bool { return false })
	good := rig.NewOrigin(t, rig.Always(table.Hello))
	h := rig.With(closing, good)
	h.Upstreams = append([]*exchange.Upstream{rig.ClosedPort(t)}, h.Upstreams...)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, table.Get+"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"); got != table.Hello+table.Hello {
		t.Errorf("got %q", got)
	}
	rig.Eventually(t, "both are recorded", func() bool { return len(h.Records()) == 2 })
	for _, r := range h.Records() {
		if r.Attempts != 3 || r.Status != 200 || r.Cause != account.CauseNone {
			t.Errorf("record %+v", r)
		}
	}
}

func allDown(t *testing.T, mk rig.Maker) {
	h := &rig.Handler{Upstreams: []*exchange.Upstream{rig.ClosedPort(t), rig.ClosedPort(t), rig.ClosedPort(t), rig.ClosedPort(t)}}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, table.Get); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("got %q", got)
	}
	rig.Eventually(t, "three attempts are recorded", func() bool {
		r := h.Records()
		return len(r) == 1 && r[0].Attempts == 3 && r[0].Cause == account.CauseConnect
	})
}

func postOnce(t *testing.T, mk rig.Maker) {
	closing := rig.NewOrigin(t, func(int, string, net.Conn) bool { return false })
	other := rig.NewOrigin(t, rig.Always(table.Hello))
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(closing, other)))
	if got := rig.Exchange(t, addr, rig.Post+"\r\nhello"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("got %q", got)
	}
	if len(other.Requests()) != 0 || len(closing.Requests()) != 1 {
		t.Errorf("sent %d and %d times", len(closing.Requests()), len(other.Requests()))
	}
}

// stale: the origin closes a kept connection just when the next request comes.
func stale(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(n int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, table.Hello)
		if n == 1 {
			rig.ReadHead(br) // takes the second request and closes
			return
		}
		_, _ = io.Copy(io.Discard, br)
	})
	h := rig.With(o)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, table.Get)
	rig.Expect(t, c, table.Hello)
	_, _ = io.WriteString(c, table.Get)
	rig.Expect(t, c, table.Hello)
	rig.Eventually(t, "both are recorded as one attempt", func() bool { r := h.Records(); return len(r) == 2 && r[1].Attempts == 1 })
}

func reuse(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	addr, d := rig.Start(t, mk, rig.Options(rig.With(o)))
	for range 20 {
		c := rig.Dial(t, addr)
		for range 5 {
			_, _ = io.WriteString(c, table.Get)
			rig.Expect(t, c, table.Hello)
		}
		_ = c.Close()
		rig.Eventually(t, "the client is gone, and its last connection waits for the next one", func() bool { return d.Stats().Clients == 0 })
	}
	if n := o.Accepted(); n > 4 { // a loop's own
		t.Errorf("%d connections for requests one after the other", n)
	}
}

func retired(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	h := rig.With(o)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	rig.Exchange(t, addr, table.Get)
	h.Upstreams[0].Retire()
	rig.Eventually(t, "idle connections of a retired upstream are closed", func() bool {
		return o.Open() == 0 && h.Upstreams[0].Conns() == 0
	})
}

func proxyOut(t *testing.T, mk rig.Maker) {
	first := make(chan string, 1)
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		line, _ := br.ReadString('\n')
		first <- line
		rig.ReadHead(br)
		_, _ = io.WriteString(c, table.Hello)
	})
	h := rig.With(o)
	h.Upstreams[0].SendProxy = 1
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, table.Get); got != table.Hello {
		t.Errorf("got %q", got)
	}
	if line := <-first; !strings.HasPrefix(line, "PROXY TCP4 127.0.0.1 127.0.0.1 ") {
		t.Errorf("got %q", line)
	}
}

func names(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	_, port, _ := net.SplitHostPort(o.Addr())
	h := &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: "localhost:" + port}}}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, table.Get); got != table.Hello {
		t.Errorf("got %q", got)
	}
	h = &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: "does-not-exist.invalid:80"}}}
	addr, _ = rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, table.Get); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("got %q", got)
	}
}
