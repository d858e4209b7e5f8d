package loop_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/proxy/exchange/exchangetest/rig"
)

// mixedOrigin answers small and large, with a length and in chunks, takes bodies and echoes tunnels.
func mixedOrigin(t *testing.T, big string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				serveMixed(c, big)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func serveMixed(c net.Conn, big string) {
	br := bufio.NewReader(c)
	whole := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(big))
	for {
		line, length := "", 0
		for {
			s, err := br.ReadString('\n')
			if err != nil {
				return
			}
			if line == "" {
				line = s
			}
			if s == "\r\n" {
				break
			}
			_, _ = fmt.Sscanf(s, "Content-Length: %d", &length)
		}
		_, _ = io.CopyN(io.Discard, br, int64(length))
		switch path, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(line, "GET "), "POST "), " "); path {
		case "/big":
			_, _ = io.WriteString(c, whole)
			_, _ = io.WriteString(c, big)
		case "/part":
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", partSize, big[:partSize])
		case "/chunks":
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for i := 0; i < len(big); i += 16 << 10 {
				_, _ = io.WriteString(c, "4000\r\n"+big[i:i+16<<10]+"\r\n")
			}
			_, _ = io.WriteString(c, "0\r\n\r\n")
		case "/ws":
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			_, _ = io.Copy(c, br)
			return
		default:
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
				return
			}
		}
	}
}

// mix is the clients.
type mix struct {
	t             *testing.T
	streams       bool // those who speak HTTP/2 take part
	plain, secure string
	cfg           *tls.Config
	big           string

	mu     sync.Mutex
	faults []error // guarded by mu
	late   bool    // a client was found late, and may have been taken for a silent one: the faults may be its own; guarded by mu
}

func (x *mix) fault(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.faults) < 10 { // the first ones say it
		x.faults = append(x.faults, err)
	}
}

func (x *mix) dial() net.Conn { return x.watched(x.plain) }

func (x *mix) dialTLS() net.Conn { return tls.Client(x.watched(x.secure), x.cfg) }

func (x *mix) watched(addr string) net.Conn {
	c := &watched{x: x, began: time.Now()} // before the loop can have it
	c.Conn = rig.Dial(x.t, addr)
	return c
}

// watched is a client's connection that notices when nothing was done with it for half the time that the loop lets one be idle.
type watched struct {
	net.Conn
	x     *mix
	began time.Time
	last  atomic.Int64 // since began
}

func (c *watched) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.used()
	return n, err
}

func (c *watched) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.used()
	return n, err
}

func (c *watched) used() {
	now := int64(time.Since(c.began))
	if now-c.last.Swap(now) < int64(silence/2) {
		return
	}
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	c.x.late = true
}

// exchange sends something and takes an answer whose body has want bytes.
func (x *mix) exchange(c net.Conn, send string, want int) {
	x.send(c, send)
	x.take(bufio.NewReader(c), want)
}

func (x *mix) send(c net.Conn, s string) {
	if _, err := io.WriteString(c, s); err != nil {
		x.fault(err)
	}
}

func (x *mix) take(br *bufio.Reader, want int) {
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			x.fault(fmt.Errorf("head: %w", err))
			return
		}
		if line == "\r\n" {
			break
		}
	}
	if n, err := io.CopyN(io.Discard, br, int64(want)); err != nil {
		x.fault(fmt.Errorf("%d bytes of %d: %w", n, want, err))
	}
}

func (x *mix) get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

// run lets everybody loose and waits for them. It reports false where somebody was not served because the clients were late, as they are
// on a busy machine.
func (x *mix) run(m *mixer, evil bool) bool {
	x.faults, x.late = nil, false
	for len(m.parked) > 0 {
		<-m.parked // of a time before, when not all had come
	}
	var wg sync.WaitGroup
	each := func(f func()) {
		for range mixed {
			wg.Go(f)
		}
	}
	var open []net.Conn
	for range silent {
		open = append(open, x.dial()) // silent: all time out in the same moment
	}
	for range waiting {
		c := x.dial()
		x.send(c, x.get("/park"))
		open = append(open, c)
	}
	rest, called := make(chan struct{}), make(chan struct{})
	go func() { defer close(called); x.callAll(m, rest) }()
	each(func() { x.download(x.dial(), "/big", len(x.big)) })
	each(func() { x.download(x.dialTLS(), "/big", len(x.big)) })
	each(func() { x.download(x.dial(), "/chunks", len(x.big)+len(x.big)/(16<<10)*8+5) })
	each(func() { x.upload(x.dial()) })
	each(func() { x.upload(x.dialTLS()) })
	each(x.pipeline)
	each(func() { x.comeAndGo(x.dial) })
	each(func() { x.comeAndGo(x.dialTLS) })
	each(x.flood)
	wg.Go(x.slowly)
	if x.streams {
		x.h2(&wg)
	}
	if evil {
		wg.Go(func() {
			c := x.dial()
			for range evils {
				x.exchange(c, x.get("/evil"), 5)
			}
		})
	}
	wg.Wait()
	close(rest)
	<-called
	late := x.late // those who say nothing will be
	for _, c := range open {
		_, _ = io.Copy(io.Discard, c) // until the proxy has had enough of it
		_ = c.Close()
	}
	if len(x.faults) > 0 && !late {
		x.t.Error(errors.Join(x.faults...))
	}
	return len(x.faults) == 0
}

// callAll wakes every parked request at once, when all are there, or when the rest is done.
func (x *mix) callAll(m *mixer, rest <-chan struct{}) {
	var calls []func()
	for range waiting {
		select {
		case f := <-m.parked:
			calls = append(calls, f)
		case <-rest:
			x.fault(errors.New("a request that was to be parked has not come"))
		}
	}
	for _, f := range calls {
		f()
	}
}

func (x *mix) download(c net.Conn, path string, size int) {
	br := bufio.NewReader(c)
	for range rounds {
		x.send(c, x.get(path))
		x.take(br, size)
	}
}

func (x *mix) upload(c net.Conn) {
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(x.big))
	for range rounds {
		x.send(c, head)
		x.exchange(c, x.big, 5)
	}
}

// pipeline sends hundreds of requests at once.
func (x *mix) pipeline() {
	c := x.dial()
	br := bufio.NewReader(c)
	const deep = 400
	for range rounds {
		go func() { _, _ = io.WriteString(c, strings.Repeat(x.get("/"), deep)) }()
		for range deep {
			x.take(br, 5)
		}
	}
}

// comeAndGo uses a connection once.
func (x *mix) comeAndGo(dial func() net.Conn) {
	for range 20 * rounds {
		c := dial()
		x.exchange(c, x.get("/"), 5)
		_ = c.Close()
	}
}

// flood sends messages through a tunnel without waiting for their echo.
func (x *mix) flood() {
	c := x.dial()
	x.send(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	br := bufio.NewReader(c)
	x.take(br, 0)
	message := strings.Repeat("m", 100)
	const count = 20_000
	go func() {
		for range count {
			if _, err := io.WriteString(c, message); err != nil {
				return
			}
		}
	}()
	if n, err := io.CopyN(io.Discard, br, count*int64(len(message))); err != nil {
		x.fault(fmt.Errorf("%d bytes of the echo: %w", n, err))
	}
	_ = c.Close()
}

// slowly takes a large answer in small sips, each when the rest has moved on.
func (x *mix) slowly() {
	c := x.dial()
	x.send(c, x.get("/big"))
	b := make([]byte, 8<<10)
	for n := 0; n < len(x.big); {
		k, err := c.Read(b)
		if err != nil {
			x.fault(err)
			return
		}
		n += k
		x.exchange(x.dial(), x.get("/"), 5)
	}
}
