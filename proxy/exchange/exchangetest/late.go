package exchangetest

import (
	"bufio"
	"crypto/tls"
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

// RunLate is about answers to questions that nobody waits for any more. It replaces the process's resolver, so nothing may run beside it.
func RunLate(t *testing.T, mk rig.Maker) {
	for name, f := range map[string]func(*testing.T, rig.Maker){
		"address": lateAddress, "error": lateError, "next request": lateForNext, "client gone": lateForNobody,
	} {
		t.Run(name, func(t *testing.T) { f(t, mk) })
	}
}

// soon is how long a late answer gets to do harm.
const soon = 200 * time.Millisecond

// named is an upstream by name.
func named(t *testing.T, name string, o *rig.Origin) *exchange.Upstream {
	t.Helper()
	_, port, err := net.SplitHostPort(o.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return &exchange.Upstream{Addr: net.JoinHostPort(name, port)}
}

// saying is an origin's answer.
func saying(who string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfrom " + who }

// lateAddress: the address of A comes when the request is on its way to B. The rest of its body goes to B, nothing goes to A, and those
// who come later have their answers from B.
func lateAddress(t *testing.T, mk rig.Maker) {
	dns := resolve(t, "a.test.")
	a := rig.NewOrigin(t, rig.Always(saying("a")))
	head := make(chan string, 1)
	b := rig.NewRawOrigin(t, func(n int, c net.Conn, br *bufio.Reader) {
		got := rig.ReadHead(br)
		if n == 1 {
			head <- got
		}
		for ; got != ""; got = rig.ReadHead(br) {
			if strings.HasPrefix(got, "POST ") {
				_, _ = io.CopyN(io.Discard, br, 10)
			}
			_, _ = io.WriteString(c, saying("b"))
		}
	})
	h := either(named(t, "a.test", a), &exchange.Upstream{Addr: b.Addr()})
	addr, _ := rig.Start(t, mk, rig.Options(h))
	release := dns.hold("a.test.")
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
	<-head
	release()
	time.Sleep(soon)
	_, _ = io.WriteString(c, "56789")
	rig.Expect(t, c, saying("b"))
	_ = c.Close()
	for range 3 {
		c := rig.Dial(t, addr)
		_, _ = io.WriteString(c, getB)
		rig.Expect(t, c, saying("b"))
		_ = c.Close()
	}
	if n := a.Accepted(); n != 0 {
		t.Errorf("%d connections to A, which got %q", n, a.Requests())
	}
}

// lateError: the look-up for A fails when B's connection is being made. B has nothing to do with that.
func lateError(t *testing.T, mk rig.Maker) {
	dns := resolve(t)
	a := rig.NewOrigin(t, rig.Always(saying("a")))
	b, u, greeted, shake := slowTLS(t)
	h := either(named(t, "a.test", a), u)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	release := dns.hold("a.test.")
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, table.Get)
	<-greeted
	release()
	time.Sleep(soon)
	shake()
	rig.Expect(t, c, saying("b"))
	if n := b.Accepted(); n != 1 {
		t.Errorf("%d connections to B", n)
	}
}

// lateForNext: the address comes when the same connection's next request waits for another upstream.
func lateForNext(t *testing.T, mk rig.Maker) {
	dns := resolve(t, "a.test.")
	a := rig.NewOrigin(t, rig.Always(saying("a")))
	_, u, greeted, shake := slowTLS(t)
	h := either(named(t, "a.test", a), u)
	first := h.Decide
	h.Decide = func(r *http1.Request, p *exchange.Peer, d *exchange.Decision) {
		d.Attempts = 1
		first(r, p, d)
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	release := dns.hold("a.test.")
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, table.Get+getB) // without a rest between them
	br := bufio.NewReader(c)
	if got := rig.ReadHead(br); !strings.HasPrefix(got, "HTTP/1.1 504 ") {
		t.Fatalf("got %q", got)
	}
	rig.Expect(t, br, "504 Gateway Timeout\n")
	<-greeted
	release()
	time.Sleep(soon)
	shake()
	rig.Expect(t, br, saying("b"))
	if n := a.Accepted(); n != 0 {
		t.Errorf("%d connections to A", n)
	}
}

// lateForNobody: the client is gone, and its place is another's, when the address comes.
func lateForNobody(t *testing.T, mk rig.Maker) {
	dns := resolve(t, "a.test.")
	a := rig.NewOrigin(t, rig.Always(saying("a")))
	_, u, greeted, shake := slowTLS(t)
	h := either(named(t, "a.test", a), u)
	decide := h.Decide
	h.Decide = func(r *http1.Request, p *exchange.Peer, d *exchange.Decision) {
		if decide(r, p, d); d.Connect > 0 {
			d.Attempts, d.Connect = 1, 5*time.Second // the clients go before, where the machine is not busy
		}
	}
	addr, d := rig.Start(t, mk, rig.Options(h))
	release := dns.hold("a.test.")
	var gone []net.Conn
	for range 8 {
		c := rig.Dial(t, addr)
		_, _ = io.WriteString(c, table.Get)
		_ = c.(*net.TCPConn).SetLinger(0)
		gone = append(gone, c)
	}
	rig.Eventually(t, "the name is asked for", func() bool { return dns.count("a.test.") > 0 }) // once for all of them
	rig.Eventually(t, "all are served", func() bool { return d.Stats().Clients == 8 })
	for _, c := range gone {
		_ = c.Close()
	}
	rig.Eventually(t, "they are gone", func() bool { return d.Stats().Clients == 0 })
	var list []net.Conn
	for range 8 {
		c := rig.Dial(t, addr)
		_, _ = io.WriteString(c, getB)
		<-greeted
		list = append(list, c)
	}
	release()
	time.Sleep(soon)
	shake()
	for _, c := range list {
		rig.Expect(t, c, saying("b"))
	}
	if n := a.Accepted(); n != 0 {
		t.Errorf("%d connections to A", n)
	}
}

// getB goes to the second upstream of either at once; other requests try the first one before, for a short time.
const getB = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"

func either(a, b *exchange.Upstream) *rig.Handler {
	h := &rig.Handler{Upstreams: []*exchange.Upstream{a, b}}
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		if d.Connect = 300 * time.Millisecond; string(r.Path) == "/b" {
			d.Upstream, d.Connect = b, 0
		}
	}
	return h
}

// slowTLS is an origin that says when a handshake has begun, and goes on with it after shake.
func slowTLS(t *testing.T) (o *rig.Origin, u *exchange.Upstream, greeted <-chan struct{}, shake func()) {
	cert, pool := rig.Certificate(t)
	begun, may := make(chan struct{}, 64), make(chan struct{})
	o = rig.NewRawOrigin(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			begun <- struct{}{}
			<-may
			return nil, nil // as crypto/tls wants it: no change
		}})
		if br := bufio.NewReader(s); rig.ReadHead(br) != "" {
			_, _ = io.WriteString(s, saying("b"))
			_, _ = io.Copy(io.Discard, br)
		}
	})
	shake = sync.OnceFunc(func() { close(may) })
	t.Cleanup(shake)
	return o, &exchange.Upstream{Addr: o.Addr(), TLS: &tls.Config{RootCAs: pool, ServerName: "a"}}, begun, shake
}
