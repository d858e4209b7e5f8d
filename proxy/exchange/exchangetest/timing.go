package exchangetest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

func slowHead(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.NewOrigin(t, rig.Always(table.Hello)))
	opt := rig.Options(h)
	opt.Timeouts.Header = 100 * time.Millisecond
	addr, _ := rig.Start(t, mk, opt)
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n")
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
		t.Errorf("got %q", b)
	}
	opt = rig.Options(h)
	opt.Timeouts.Idle = 100 * time.Millisecond
	addr, _ = rig.Start(t, mk, opt)
	if b, err := io.ReadAll(rig.Dial(t, addr)); len(b) != 0 || err != nil {
		t.Errorf("idle: %q %v", b, err)
	}
}

func slowBody(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	opt := rig.Options(rig.With(o))
	opt.Timeouts.Body = 100 * time.Millisecond
	addr, _ := rig.Start(t, mk, opt)
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Post+"\r\nhel")
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
		t.Errorf("got %q", b)
	}
	if n := len(o.Requests()); n != 0 {
		t.Errorf("the origin saw the end of %d requests", n)
	}
}

func silentOrigin(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, _ net.Conn, br *bufio.Reader) { _, _ = io.Copy(io.Discard, br) })
	other := rig.NewOrigin(t, rig.Always(table.Hello))
	h := rig.With(o, other)
	opt := rig.Options(h)
	opt.Timeouts.Response = 100 * time.Millisecond
	addr, _ := rig.Start(t, mk, opt)
	if got := rig.Exchange(t, addr, table.Get); !strings.HasPrefix(got, "HTTP/1.1 504 ") {
		t.Errorf("got %q", got)
	}
}

// slowReader: a client that takes nothing is given up, and does not make the proxy read the whole answer.
func slowReader(t *testing.T, mk rig.Maker) {
	sent := make(chan int64, 1)
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		n, _ := io.Copy(c, io.LimitReader(zeros{}, 1000000000))
		sent <- n
	})
	opt := rig.Options(rig.With(o))
	opt.Timeouts.Write = 200 * time.Millisecond
	addr, _ := rig.Start(t, mk, opt)
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, table.Get)
	if n := <-sent; n > 100<<20 {
		t.Errorf("%d bytes were taken for a client that reads nothing", n)
	}
	if n, err := io.Copy(io.Discard, c); err == nil {
		t.Errorf("the cut answer looked complete after %d bytes", n)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// bothWays: a large body and a large answer at once, neither waiting for the other.
func bothWays(t *testing.T, mk rig.Maker) {
	const size = 8 << 20
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n")
		_, _ = io.Copy(c, io.LimitReader(br, size))
	})
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	c := rig.Dial(t, addr)
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n")
	_, _ = c.Write(body[:1])
	// The rest waits for the head of the answer: an answer that has begun before the body's end closes the connection.
	rig.Expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\nConnection: close\r\n\r\n")
	go func() { _, _ = c.Write(body[1:]) }()
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, body) {
		t.Errorf("body changed: %v", err)
	}
}
