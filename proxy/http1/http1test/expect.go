package http1test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

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

func continueRefused(t *testing.T, mk New) {
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, br)
	})
	opt := options(with(o))
	opt.Timeouts.Continue = time.Minute // the answer comes first, however busy the machine is
	addr, _ := Start(t, mk, opt)
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
