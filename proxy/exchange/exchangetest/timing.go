package exchangetest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

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
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n")
	_, _ = c.Write(body[:1])
	// The rest waits for the head of the answer: an answer that has begun before the body's end closes the connection.
	Expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\nConnection: close\r\n\r\n")
	go func() { _, _ = c.Write(body[1:]) }()
	got := make([]byte, size)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, body) {
		t.Errorf("body changed: %v", err)
	}
}
