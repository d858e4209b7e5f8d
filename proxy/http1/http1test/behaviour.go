package http1test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/http1"
)

// Run runs the table and everything that a table cannot say.
func Run(t *testing.T, mk New) {
	t.Run("table", func(t *testing.T) { RunTable(t, mk) })
	for name, f := range map[string]func(*testing.T, New){
		"continue": continues, "continue refused": continueRefused, "continue late": continueLate, "tunnel": tunnel, "half-close": halfClose,
		"retry": retry, "all down": allDown, "post once": postOnce, "stale": stale, "reuse": reuse, "drain": drain, "early": early,
		"slow head": slowHead, "slow body": slowBody, "silent origin": silentOrigin, "slow reader": slowReader, "isolation": isolation,
		"retired": retired, "proxy in": proxyIn, "proxy out": proxyOut, "park": park, "park woken": parkWoken, "client leaves": clientLeaves, "limit": connLimit,
		"handover": handOver, "names": names, "both ways": bothWays, "tls": overTLS, "handshakes": handshakes, "handshake time": handshakeTime, "tls upstream": toTLS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, mk)
		})
	}
}

func always(text string) func(int, string, net.Conn) bool {
	return func(_ int, _ string, c net.Conn) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

func with(o *Origin, more ...*Origin) *Handler {
	h := &Handler{}
	for _, o := range append([]*Origin{o}, more...) {
		h.Upstreams = append(h.Upstreams, &http1.Upstream{Addr: o.Addr()})
	}
	return h
}

func options(h *Handler) http1.Options {
	return http1.Options{Config: http1.Config{Handler: h, Timeouts: http1.Timeouts{Linger: 200 * time.Millisecond}}}
}

const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"

func continues(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	addr, _ := Start(t, mk, options(with(o)))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, post+"Expect: 100-continue\r\n\r\n")
	Expect(t, c, "HTTP/1.1 100 Continue\r\n\r\n")
	_, _ = io.WriteString(c, "hello"+get)
	Expect(t, c, hello+hello)
	if !strings.HasSuffix(o.Requests()[0], "\r\n\r\nhello") {
		t.Errorf("origin got %q", o.Requests()[0])
	}
}

// rawOrigin hands each connection to serve.
func rawOrigin(t *testing.T, serve func(n int, c net.Conn, br *bufio.Reader)) *Origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &Origin{ln: ln, conns: make(map[net.Conn]bool)}
	o.wg.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns[c] = true
			o.accepted++
			o.mu.Unlock()
			o.wg.Go(func() {
				defer func() { _ = c.Close() }()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(o.Close)
	return o
}

func readHead(br *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

func continueRefused(t *testing.T, mk New) {
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, br)
	})
	addr, _ := Start(t, mk, options(with(o)))
	// The body that a client sends after all is not a request.
	got := Exchange(t, addr, post+"Expect: 100-continue\r\n\r\n")
	if got != "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" && !strings.HasSuffix(got, "<reset>") {
		t.Errorf("got %q", got)
	}
	c := Dial(t, addr)
	_, _ = io.WriteString(c, post+"Expect: 100-continue\r\n\r\n")
	Expect(t, c, "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	_, _ = io.WriteString(c, get)
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("the body was answered: %q", b)
	}
}

func continueLate(t *testing.T, mk New) {
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br) // never says 100
		_, _ = io.CopyN(io.Discard, br, 5)
		_, _ = io.WriteString(c, hello)
	})
	opt := options(with(o))
	opt.Timeouts.Continue = 50 * time.Millisecond
	addr, _ := Start(t, mk, opt)
	c := Dial(t, addr)
	_, _ = io.WriteString(c, post+"Expect: 100-continue\r\n\r\n")
	Expect(t, c, "HTTP/1.1 100 Continue\r\n\r\n")
	_, _ = io.WriteString(c, "hello")
	Expect(t, c, hello)
}

const upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

func echo(t *testing.T) *Origin {
	return rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, switched+"first")
		_, _ = io.Copy(c, br)
		_, _ = io.WriteString(c, "last")
	})
}

func tunnel(t *testing.T, mk New) {
	h := with(echo(t))
	addr, _ := Start(t, mk, options(h))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, upgrade+"early")
	Expect(t, c, switched+"firstearly")
	for i := range 100 {
		m := fmt.Sprintf("message %d", i)
		_, _ = io.WriteString(c, m)
		Expect(t, c, m)
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	go func() { _, _ = c.Write(big) }()
	Expect(t, c, string(big))
	_ = c.Close()
	Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
}

func halfClose(t *testing.T, mk New) {
	addr, _ := Start(t, mk, options(with(echo(t))))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, upgrade+"x")
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if want := switched + "firstxlast"; string(b) != want || err != nil {
		t.Errorf("got %q %v, want %q", b, err, want)
	}
}

func closedPort(t *testing.T) *http1.Upstream {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return &http1.Upstream{Addr: ln.Addr().String()}
}

func retry(t *testing.T, mk New) {
	closing := NewOrigin(t, func(int, string, net.Conn) bool { return false })
	good := NewOrigin(t, always(hello))
	h := with(closing, good)
	h.Upstreams = append([]*http1.Upstream{closedPort(t)}, h.Upstreams...)
	addr, _ := Start(t, mk, options(h))
	if got := Exchange(t, addr, get+"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"); got != hello+hello {
		t.Errorf("got %q", got)
	}
	Eventually(t, "both are recorded", func() bool { return len(h.Records()) == 2 })
	for _, r := range h.Records() {
		if r.Attempts != 3 || r.Status != 200 || r.Cause != http1.CauseNone {
			t.Errorf("record %+v", r)
		}
	}
}

func allDown(t *testing.T, mk New) {
	h := &Handler{Upstreams: []*http1.Upstream{closedPort(t), closedPort(t), closedPort(t), closedPort(t)}}
	addr, _ := Start(t, mk, options(h))
	began := time.Now()
	got := Exchange(t, addr, get)
	if !strings.HasPrefix(got, "HTTP/1.1 502 ") || time.Since(began) > time.Second {
		t.Errorf("got %q after %v", got, time.Since(began))
	}
	Eventually(t, "three attempts are recorded", func() bool {
		r := h.Records()
		return len(r) == 1 && r[0].Attempts == 3 && r[0].Cause == http1.CauseConnect
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
	}
	if n := o.Accepted(); n > 4 { // a loop's own
		t.Errorf("%d connections for requests one after the other", n)
	}
	Eventually(t, "all clients are gone", func() bool { return d.Stats().Clients == 0 })
}

func drain(t *testing.T, mk New) {
	release := make(chan struct{})
	o := NewOrigin(t, func(_ int, _ string, c net.Conn) bool {
		<-release
		_, _ = io.WriteString(c, hello)
		return true
	})
	addr, d := Start(t, mk, options(with(o)))
	busy, idle := Dial(t, addr), Dial(t, addr)
	_, _ = io.WriteString(busy, get)
	Eventually(t, "the request has arrived", func() bool { return len(o.Requests()) == 1 && d.Stats().Clients == 2 })
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

// early: an answer before the body is complete ends the connection; the rest of the body is no request.
func early(t *testing.T, mk New) {
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, hello)
		_, _ = io.Copy(io.Discard, br)
	})
	addr, _ := Start(t, mk, options(with(o)))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n"+strings.Repeat("x", 100))
	Expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
	_, _ = io.WriteString(c, get)
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("got %q", b)
	}
}

func slowHead(t *testing.T, mk New) {
	h := with(NewOrigin(t, always(hello)))
	opt := options(h)
	opt.Timeouts.Header = 100 * time.Millisecond
	addr, _ := Start(t, mk, opt)
	c := Dial(t, addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n")
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
		t.Errorf("got %q", b)
	}
	opt = options(h)
	opt.Timeouts.Idle = 100 * time.Millisecond
	addr, _ = Start(t, mk, opt)
	if b, err := io.ReadAll(Dial(t, addr)); len(b) != 0 || err != nil {
		t.Errorf("idle: %q %v", b, err)
	}
}

func slowBody(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	opt := options(with(o))
	opt.Timeouts.Body = 100 * time.Millisecond
	addr, _ := Start(t, mk, opt)
	c := Dial(t, addr)
	_, _ = io.WriteString(c, post+"\r\nhel")
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
		t.Errorf("got %q", b)
	}
	if n := len(o.Requests()); n != 0 {
		t.Errorf("the origin saw the end of %d requests", n)
	}
}

func silentOrigin(t *testing.T, mk New) {
	o := rawOrigin(t, func(_ int, _ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	other := NewOrigin(t, always(hello))
	h := with(o, other)
	opt := options(h)
	opt.Timeouts.Response = 100 * time.Millisecond
	addr, _ := Start(t, mk, opt)
	if got := Exchange(t, addr, get); !strings.HasPrefix(got, "HTTP/1.1 504 ") {
		t.Errorf("got %q", got)
	}
}

// slowReader: a client that takes nothing is given up, and does not make the proxy read the whole answer.
func slowReader(t *testing.T, mk New) {
	sent := make(chan int64, 1)
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		n, _ := io.Copy(c, io.LimitReader(zeros{}, 1000000000))
		sent <- n
	})
	opt := options(with(o))
	opt.Timeouts.Write = 200 * time.Millisecond
	addr, _ := Start(t, mk, opt)
	c := Dial(t, addr)
	_, _ = io.WriteString(c, get)
	if n := <-sent; n > 100<<20 {
		t.Errorf("%d bytes were taken for a client that reads nothing", n)
	}
	if n, err := io.Copy(io.Discard, c); err == nil {
		t.Errorf("the cut answer looked complete after %d bytes", n)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

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

func proxyIn(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	opt := options(with(o))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []http1.Listener{{Listener: ln, ProxyFrom: loopback}}
	addr, _ := Start(t, mk, opt)
	for _, head := range []string{
		"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n",
		string(http1.AppendProxy(nil, 2, addrPort("192.0.2.7:4711"), addrPort("192.0.2.1:80"))),
	} {
		if got := Exchange(t, addr, head+get); got != hello {
			t.Errorf("%q: got %q", head, got)
		}
		if got := Exchange(t, addr, head[:3], head[3:], get); got != hello {
			t.Errorf("%q in pieces: got %q", head, got)
		}
	}
	for _, r := range o.Requests() {
		if !strings.Contains(r, "X-Forwarded-For: 192.0.2.7\r\n") {
			t.Errorf("origin got %q", r)
		}
	}
	if got := strings.TrimSuffix(Exchange(t, addr, get), "<reset>"); got != "" {
		t.Errorf("without the header: got %q", got)
	}
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

func park(t *testing.T, mk New) {
	h := with(NewOrigin(t, always(hello)))
	h.Decide = func(_ *http1.Request, _ *http1.Peer, d *http1.Decision) {
		if d.Parked < 2 {
			d.Verdict, d.ParkFor = http1.Park, 5*time.Millisecond
		}
	}
	addr, _ := Start(t, mk, options(h))
	if got := Exchange(t, addr, get); got != hello {
		t.Errorf("got %q", got)
	}
}

// parkWoken: a parked request goes on when it is woken, not when a timer looks; calls that come too late hurt nobody.
func parkWoken(t *testing.T, mk New) {
	h := with(NewOrigin(t, always(hello)))
	wakes := make(chan func(), 100)
	h.Decide = func(_ *http1.Request, _ *http1.Peer, d *http1.Decision) {
		if d.Parked == 0 {
			d.Verdict, d.ParkFor = http1.Park, time.Hour
			wakes <- d.Wake
		}
	}
	addr, driver := Start(t, mk, options(h))
	c := Dial(t, addr)
	var old []func()
	for range 20 {
		_, _ = io.WriteString(c, get)
		wake := <-wakes
		wake()
		old = append(old, wake)
		Expect(t, c, hello)
		for _, f := range old {
			f()
		}
	}
	_, _ = io.WriteString(c, get)
	wake := <-wakes
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = driver.Shutdown(ctx)
	wake()
	if b, err := io.ReadAll(c); len(b) > 0 {
		t.Errorf("a driver that was stopped answered %q %v", b, err)
	}
}

func clientLeaves(t *testing.T, mk New) {
	gone := make(chan struct{})
	o := rawOrigin(t, func(_ int, _ net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.Copy(io.Discard, br)
		close(gone)
	})
	h := with(o)
	addr, d := Start(t, mk, options(h))
	c := Dial(t, addr)
	_, _ = io.WriteString(c, get)
	Eventually(t, "it has arrived", func() bool { return o.Accepted() == 1 })
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	select {
	case <-gone:
	case <-time.After(8 * time.Second):
		t.Fatal("the origin still works for a client that left")
	}
	Eventually(t, "the record says so", func() bool { r := h.Records(); return len(r) == 1 && r[0].Cause == http1.CauseClient })
	Eventually(t, "nothing is left", func() bool { return d.Stats().Clients == 0 && d.Stats().Upstreams == 0 })
}

func connLimit(t *testing.T, mk New) {
	opt := options(with(NewOrigin(t, always(hello))))
	opt.MaxConns = 2
	addr, d := Start(t, mk, opt)
	a, b := Dial(t, addr), Dial(t, addr)
	Eventually(t, "both are in", func() bool { return d.Stats().Clients == 2 })
	if got := Exchange(t, addr, get); !strings.HasPrefix(got, "HTTP/1.1 503 ") {
		t.Errorf("got %q", got)
	}
	_ = a.Close()
	Eventually(t, "one has left", func() bool { return d.Stats().Clients == 1 })
	if got := Exchange(t, addr, get); got != hello {
		t.Errorf("got %q", got)
	}
	_ = b.Close()
}

func handOver(t *testing.T, mk New) {
	h := with(NewOrigin(t, always(hello)))
	h.Decide = func(r *http1.Request, _ *http1.Peer, d *http1.Decision) {
		if string(r.Path) == "/give" {
			d.Verdict = http1.Handover
		}
	}
	opt := options(h)
	given := make(chan string, 1)
	opt.Handover = func(c net.Conn) {
		s, _ := ReadRequest(bufio.NewReader(c), nil)
		_, _ = io.WriteString(c, "taken")
		_ = c.Close()
		given <- s
	}
	addr, _ := Start(t, mk, opt)
	req := "POST /give HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	c := Dial(t, addr)
	_, _ = io.WriteString(c, get+req)
	Expect(t, c, hello+"taken")
	if s := <-given; s != req {
		t.Errorf("handed over %q", s)
	}
}

func names(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	_, port, _ := net.SplitHostPort(o.Addr())
	h := &Handler{Upstreams: []*http1.Upstream{{Addr: "localhost:" + port}}}
	addr, _ := Start(t, mk, options(h))
	if got := Exchange(t, addr, get); got != hello {
		t.Errorf("got %q", got)
	}
	h = &Handler{Upstreams: []*http1.Upstream{{Addr: "does-not-exist.invalid:80"}}}
	addr, _ = Start(t, mk, options(h))
	if got := Exchange(t, addr, get); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("got %q", got)
	}
}

// bothWays: a large body and a large answer at once, neither waiting for the other.
func bothWays(t *testing.T, mk New) {
	const size = 8 << 20
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n")
		_, _ = io.Copy(c, io.LimitReader(br, size))
	})
	addr, _ := Start(t, mk, options(with(o)))
	c := Dial(t, addr)
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	go func() {
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n")
		_, _ = c.Write(body)
	}()
	Expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\nConnection: close\r\n\r\n")
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, body) {
		t.Errorf("body changed: %v", err)
	}
}

// isolation is the property that matters most: no byte of one client reaches another, whatever closes, resets, dawdles, pipelines
// or is retried.
func isolation(t *testing.T, mk New) {
	serve := func(n int, c net.Conn, br *bufio.Reader) {
		r := rand.New(rand.NewPCG(uint64(n), 7))
		for {
			req, err := ReadRequest(br, nil)
			if err != nil {
				return
			}
			if !answerIsolated(r, c, req) {
				return
			}
		}
	}
	h := with(rawOrigin(t, serve), rawOrigin(t, serve))
	opt := options(h)
	addr, d := Start(t, mk, opt)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for n := range 25 {
				isolatedClient(t, r, addr, fmt.Sprintf("c%dn%d", i, n))
			}
		})
	}
	wg.Wait()
	Eventually(t, "all clients are gone", func() bool { return d.Stats().Clients == 0 })
}

// answerIsolated answers with bytes that name the request's own client, or misbehaves.
func answerIsolated(r *rand.Rand, c net.Conn, req string) bool {
	parsed, err := http.ReadRequest(bufio.NewReader(strings.NewReader(req)))
	if err != nil {
		return false
	}
	name := parsed.Header.Get("X-Client")
	if body, err := io.ReadAll(parsed.Body); err != nil || strings.ReplaceAll(string(body), name+".", "") != "" {
		name = "FOREIGN BODY"
	}
	text := strings.Repeat(name+".", r.IntN(3000))
	var out string
	switch r.IntN(3) {
	case 0:
		out = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	case 1:
		out = fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(text)+1, text+".")
	default:
		out = "HTTP/1.1 200 OK\r\n\r\n" + text
		_, _ = io.WriteString(c, out)
		return false
	}
	switch r.IntN(12) {
	case 0:
		return false // no answer
	case 1:
		_, _ = io.WriteString(c, out[:r.IntN(len(out))]) // half an answer
		return false
	case 2:
		_ = c.(*net.TCPConn).SetLinger(0)
		return false
	case 3:
		_, _ = io.WriteString(c, out+"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nFOREIGN") // too much
		return true
	}
	_, err = io.WriteString(c, out)
	return err == nil
}

// isolatedClient sends a few requests and complains about every byte that is not its own.
func isolatedClient(t *testing.T, r *rand.Rand, addr, name string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var out strings.Builder
	for range 1 + r.IntN(4) {
		body := strings.Repeat(name+".", r.IntN(2000))
		switch r.IntN(3) {
		case 0:
			fmt.Fprintf(&out, "GET / HTTP/1.1\r\nHost: a\r\nX-Client: %s\r\n\r\n", name)
		case 1:
			fmt.Fprintf(&out, "POST / HTTP/1.1\r\nHost: a\r\nX-Client: %s\r\nContent-Length: %d\r\n\r\n%s", name, len(body), body)
		default:
			fmt.Fprintf(&out, "PUT / HTTP/1.1\r\nHost: a\r\nX-Client: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", name, len(body)+len(name)+1, body+name+".")
		}
	}
	text := out.String()
	if r.IntN(4) == 0 {
		text = text[:r.IntN(len(text))]
	}
	if r.IntN(8) == 0 {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	go func() {
		_, _ = io.WriteString(c, text)
		if r := len(text) % 3; r == 0 {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	if r.IntN(6) == 0 {
		return // leave early
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Duration(50+r.IntN(300)) * time.Millisecond))
	b, _ := io.ReadAll(io.LimitReader(c, 1<<20))
	own(t, b, name)
}

// own complains unless every answer consists of its client's own name, cut off at most.
func own(t *testing.T, b []byte, name string) {
	br := bufio.NewReader(bytes.NewReader(b))
	for {
		r, err := http.ReadResponse(br, nil)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if r.StatusCode != 200 {
			continue
		}
		rest := strings.TrimSuffix(strings.ReplaceAll(string(body), name+".", ""), ".")
		if rest != "" && (err == nil || !strings.HasPrefix(name+".", rest)) {
			t.Errorf("%s got bytes of another: %.200q", name, rest)
		}
	}
}

// certificate is a fresh self-signed one for "a".
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

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

func overTLS(t *testing.T, mk New) {
	cert, pool := certificate(t)
	big := "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536)
	o := NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		text := hello
		if strings.HasPrefix(r, "GET /big ") {
			text = big
		}
		_, err := io.WriteString(c, text)
		return err == nil
	})
	opt := options(with(o))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opt.Listeners = []http1.Listener{{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}}}
	addr, d := Start(t, mk, opt)
	body := strings.Repeat("x", 300_000)
	upload := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: version, MaxVersion: version}
		c := tls.Client(dribble{Dial(t, addr)}, cfg)
		for range 3 {
			_, _ = io.WriteString(c, get+"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
			Expect(t, c, hello+big)
		}
		_ = c.Close()
		c = tls.Client(Dial(t, addr), cfg)
		_, _ = io.WriteString(c, upload+get)
		Expect(t, c, hello+hello)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if b, err := io.ReadAll(c); err != nil || string(b) != "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello" {
			t.Errorf("closing: %q %v", b, err)
		}
		_ = c.Close()
	}
	raw := Dial(t, addr)
	_, _ = io.WriteString(raw, get)
	_, _ = io.Copy(io.Discard, raw)
	Eventually(t, "all clients are gone", func() bool { s := d.Stats(); return s.Clients == 0 && s.Handshakes == 5 && s.BadTLS == 1 })
	for _, r := range o.Requests() {
		if !strings.Contains(r, "X-Forwarded-Proto: https\r\n") {
			t.Fatalf("origin got %.300q", r)
		}
	}
}

func toTLS(t *testing.T, mk New) {
	cert, pool := certificate(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	o := &Origin{ln: ln, answer: always(hello), conns: make(map[net.Conn]bool)}
	o.wg.Go(o.accept)
	t.Cleanup(o.Close)
	h := with(o)
	h.Upstreams[0].TLS = &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}
	addr, _ := Start(t, mk, options(h))
	c := Dial(t, addr)
	for range 5 {
		_, _ = io.WriteString(c, get+post+"\r\nhello")
		Expect(t, c, hello+hello)
	}
	h = &Handler{Upstreams: []*http1.Upstream{{Addr: o.Addr(), TLS: &tls.Config{RootCAs: pool, ServerName: "b", MinVersion: tls.VersionTLS13}}}}
	addr, _ = Start(t, mk, options(h))
	if got := Exchange(t, addr, get); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("an upstream with another name: %q", got)
	}
}
