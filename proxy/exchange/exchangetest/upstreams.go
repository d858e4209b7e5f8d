package exchangetest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"portico/proxy/exchange"
)

func closedPort(t *testing.T) *exchange.Upstream {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return &exchange.Upstream{Addr: ln.Addr().String()}
}

func retry(t *testing.T, mk New) {
	closing := NewOrigin(t, func(int, string, net.Conn) bool { return false })
	good := NewOrigin(t, always(hello))
	h := with(closing, good)
	h.Upstreams = append([]*exchange.Upstream{closedPort(t)}, h.Upstreams...)
	addr, _ := Start(t, mk, options(h))
	if got := Exchange(t, addr, get+"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"); got != hello+hello {
		t.Errorf("got %q", got)
	}
	Eventually(t, "both are recorded", func() bool { return len(h.Records()) == 2 })
	for _, r := range h.Records() {
		if r.Attempts != 3 || r.Status != 200 || r.Cause != exchange.CauseNone {
			t.Errorf("record %+v", r)
		}
	}
}

func allDown(t *testing.T, mk New) {
	h := &Handler{Upstreams: []*exchange.Upstream{closedPort(t), closedPort(t), closedPort(t), closedPort(t)}}
	addr, _ := Start(t, mk, options(h))
	if got := Exchange(t, addr, get); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("got %q", got)
	}
	Eventually(t, "three attempts are recorded", func() bool {
		r := h.Records()
		return len(r) == 1 && r[0].Attempts == 3 && r[0].Cause == exchange.CauseConnect
	})
}

func postOnce(t *testing.T, mk New) {
	closing := NewOrigin(t, func(int, string, net.Conn) bool { return false })
	other := NewOrigin(t, always(hello))
	addr, _ := Start(t, mk, options(with(closing, other)))
	if got := Exchange(t, addr, post+"\r\nhello"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("got %q", got)
	}
	if len(other.Requests()) != 0 || len(closing.Requests()) != 1 {
		t.Errorf("sent %d and %d times", len(closing.Requests()), len(other.Requests()))
	}
}

// stale: the origin closes a kept connection just when the next request comes.
func stale(t *testing.T, mk New) {
	o := rawOrigin(t, func(n int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, hello)
		if n == 1 {
			readHead(br) // takes the second request and closes
			return
		}
		_, _ = io.Copy(io.Discard, br)
	})
	h := with(o)
	addr, _ := Start(t, mk, options(h))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, get)
	Expect(t, c, hello)
	_, _ = io.WriteString(c, get)
	Expect(t, c, hello)
	Eventually(t, "both are recorded as one attempt", func() bool { r := h.Records(); return len(r) == 2 && r[1].Attempts == 1 })
}

func reuse(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	addr, d := Start(t, mk, options(with(o)))
	for range 20 {
		c := Dial(t, addr)
		for range 5 {
			_, _ = io.WriteString(c, get)
			Expect(t, c, hello)
		}
		_ = c.Close()
		Eventually(t, "the client is gone, and its last connection waits for the next one", func() bool { return d.Stats().Clients == 0 })
	}
	if n := o.Accepted(); n > 4 { // a loop's own
		t.Errorf("%d connections for requests one after the other", n)
	}
}

func retired(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	h := with(o)
	addr, _ := Start(t, mk, options(h))
	Exchange(t, addr, get)
	h.Upstreams[0].Retire()
	Eventually(t, "idle connections of a retired upstream are closed", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.conns) == 0 && h.Upstreams[0].Conns() == 0
	})
}

func proxyOut(t *testing.T, mk New) {
	first := make(chan string, 1)
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		line, _ := br.ReadString('\n')
		first <- line
		readHead(br)
		_, _ = io.WriteString(c, hello)
	})
	h := with(o)
	h.Upstreams[0].SendProxy = 1
	addr, _ := Start(t, mk, options(h))
	if got := Exchange(t, addr, get); got != hello {
		t.Errorf("got %q", got)
	}
	if line := <-first; !strings.HasPrefix(line, "PROXY TCP4 127.0.0.1 127.0.0.1 ") {
		t.Errorf("got %q", line)
	}
}

func names(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	_, port, _ := net.SplitHostPort(o.Addr())
	h := &Handler{Upstreams: []*exchange.Upstream{{Addr: "localhost:" + port}}}
	addr, _ := Start(t, mk, options(h))
	if got := Exchange(t, addr, get); got != hello {
		t.Errorf("got %q", got)
	}
	h = &Handler{Upstreams: []*exchange.Upstream{{Addr: "does-not-exist.invalid:80"}}}
	addr, _ = Start(t, mk, options(h))
	if got := Exchange(t, addr, get); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("got %q", got)
	}
}
