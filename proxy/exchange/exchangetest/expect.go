package exchangetest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

func continues(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Post+"Expect: 100-continue\r\n\r\n")
	rig.Expect(t, c, "HTTP/1.1 100 Continue\r\n\r\n")
	_, _ = io.WriteString(c, "hello"+table.Get)
	rig.Expect(t, c, table.Hello+table.Hello)
	if !strings.HasSuffix(o.Requests()[0], "\r\n\r\nhello") {
		t.Errorf("origin got %q", o.Requests()[0])
	}
}

func continueRefused(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, br)
	})
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	// The body that a client sends after all is not a request.
	got := rig.Exchange(t, addr, rig.Post+"Expect: 100-continue\r\n\r\n")
	if got != "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" && !strings.HasSuffix(got, "<reset>") {
		t.Errorf("got %q", got)
	}
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Post+"Expect: 100-continue\r\n\r\n")
	rig.Expect(t, c, "HTTP/1.1 401 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	_, _ = io.WriteString(c, table.Get)
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("the body was answered: %q", b)
	}
}

func continueLate(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br) // never says 100
		_, _ = io.CopyN(io.Discard, br, 5)
		_, _ = io.WriteString(c, table.Hello)
	})
	opt := rig.Options(rig.With(o))
	opt.Timeouts.Continue = 50 * time.Millisecond
	addr, _ := rig.Start(t, mk, opt)
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Post+"Expect: 100-continue\r\n\r\n")
	rig.Expect(t, c, "HTTP/1.1 100 Continue\r\n\r\n")
	_, _ = io.WriteString(c, "hello")
	rig.Expect(t, c, table.Hello)
}

// continueOver: once the final head is out, nothing says 100 Continue any more, however long the answer takes. Where the head comes later
// than Timeouts.Continue, the proxy rightly says it before, and nothing is shown: then the head gets more time.
func continueOver(t *testing.T, mk rig.Maker) {
	for _, framing := range []string{"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"} {
		patience := 50 * time.Millisecond
		for !continuesNoMore(t, mk, framing, patience) {
			patience *= 2
		}
	}
}

// continuesNoMore reports whether the final head was out within patience; then the rest of the answer comes long after it.
func continuesNoMore(t *testing.T, mk rig.Maker, framing string, patience time.Duration) bool {
	headOut := make(chan struct{})
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
		<-headOut
		time.Sleep(4 * patience) // in which the fault would show
		_, _ = io.WriteString(c, "56789")
		_, _ = io.Copy(io.Discard, br)
	})
	defer close(headOut)
	opt := rig.Options(rig.With(o))
	opt.Timeouts.Continue = patience
	addr, _ := rig.Start(t, mk, opt)
	c := rig.Dial(t, addr)
	br := bufio.NewReader(c)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\n"+framing+"Expect: 100-continue\r\n\r\n")
	head := rig.ReadHead(br)
	if head == "HTTP/1.1 100 Continue\r\n\r\n" {
		return false
	}
	if want := "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"; head != want {
		t.Fatalf("got %q, want %q", head, want)
	}
	headOut <- struct{}{}
	rig.Expect(t, br, "0123456789")
	return true
}

// continueKept: a client that was not asked for its body is not given up for keeping it, nor for ending its side.
func continueKept(t *testing.T, mk rig.Maker) {
	ended := make(chan struct{})
	o := rig.NewRawOrigin(t, func(n int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\n01234")
		if n == 1 {
			time.Sleep(400 * time.Millisecond)
		} else {
			<-ended
			time.Sleep(50 * time.Millisecond)
		}
		_, _ = io.WriteString(c, "56789")
	})
	opt := rig.Options(rig.With(o))
	opt.Timeouts.Body = 100 * time.Millisecond
	addr, _ := rig.Start(t, mk, opt)
	const want = "HTTP/1.1 401 No\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789"
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Post+"Expect: 100-continue\r\n\r\n")
	rig.Expect(t, c, want)
	c = rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Post+"Expect: 100-continue\r\n\r\n")
	rig.Expect(t, c, want[:len(want)-5])
	_ = c.(*net.TCPConn).CloseWrite()
	close(ended)
	rig.Expect(t, c, want[len(want)-5:])
}

// continueForNothing: where there is no body, nothing is said about one (RFC 9110, 10.1.1).
func continueForNothing(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for rig.ReadHead(br) != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			time.Sleep(150 * time.Millisecond)
			_, _ = io.WriteString(c, table.Hello)
		}
	})
	opt := rig.Options(rig.With(o))
	opt.Timeouts.Continue = 50 * time.Millisecond
	addr, _ := rig.Start(t, mk, opt)
	c := rig.Dial(t, addr)
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n",
	} {
		_, _ = io.WriteString(c, head+"Expect: 100-continue\r\n\r\n")
		rig.Expect(t, c, table.Hello)
	}
}

// early: an answer before the body is complete ends the connection; the rest of the body is no request.
func early(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, table.Hello)
		_, _ = io.Copy(io.Discard, br)
	})
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(o)))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n"+strings.Repeat("x", 100))
	rig.Expect(t, c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
	_, _ = io.WriteString(c, table.Get)
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("got %q", b)
	}
}
