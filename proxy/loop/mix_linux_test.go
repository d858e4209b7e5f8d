package loop_test

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

	"portico/proxy/http1/http1test"
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
	plain, secure string
	cfg           *tls.Config
	big           string
}

func (x *mix) dial() net.Conn { return http1test.Dial(x.t, x.plain) }

func (x *mix) dialTLS() net.Conn { return tls.Client(http1test.Dial(x.t, x.secure), x.cfg) }

// exchange sends something and takes an answer whose body has want bytes.
func (x *mix) exchange(c net.Conn, send string, want int) {
	x.send(c, send)
	x.take(c, bufio.NewReader(c), want)
}

func (x *mix) send(c net.Conn, s string) {
	if _, err := io.WriteString(c, s); err != nil {
		x.t.Error(err)
	}
}

func (x *mix) take(c net.Conn, br *bufio.Reader, want int) {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			x.t.Errorf("head: %v", err)
			return
		}
		if line == "\r\n" {
			break
		}
	}
	if n, err := io.CopyN(io.Discard, br, int64(want)); err != nil {
		x.t.Errorf("%d bytes of %d: %v", n, want, err)
	}
}

func (x *mix) get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }

// run lets everybody loose and waits for them.
func (x *mix) run(m *mixer, evil bool) {
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
	wg.Go(func() { x.callAll(m) })
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
	if evil {
		wg.Go(func() {
			c := x.dial()
			for range evils {
				x.exchange(c, x.get("/evil"), 5)
			}
		})
	}
	wg.Wait()
	for _, c := range open {
		_, _ = io.Copy(io.Discard, c) // until the proxy has had enough of it
		_ = c.Close()
	}
}

// callAll wakes every parked request at once, when all are there.
func (x *mix) callAll(m *mixer) {
	var calls []func()
	for range waiting {
		calls = append(calls, <-m.parked)
	}
	for _, f := range calls {
		f()
	}
}

func (x *mix) download(c net.Conn, path string, size int) {
	br := bufio.NewReader(c)
	for range rounds {
		x.send(c, x.get(path))
		x.take(c, br, size)
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
			x.take(c, br, 5)
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
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	x.send(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	br := bufio.NewReader(c)
	x.take(c, br, 0)
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
		x.t.Errorf("%d bytes of the echo: %v", n, err)
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
			x.t.Error(err)
			return
		}
		n += k
		x.exchange(x.dial(), x.get("/"), 5)
	}
}
