package exchangetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
)

func tunnel(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.Echo(t))
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Upgrade+"early")
	rig.Expect(t, c, rig.Switched+"firstearly")
	for i := range 100 {
		m := fmt.Sprintf("message %d", i)
		_, _ = io.WriteString(c, m)
		rig.Expect(t, c, m)
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	go func() { _, _ = c.Write(big) }()
	rig.Expect(t, c, string(big))
	_ = c.Close()
	rig.Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
}

func halfClose(t *testing.T, mk rig.Maker) {
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(rig.Echo(t))))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Upgrade+"x")
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if want := rig.Switched + "firstxlast"; string(b) != want || err != nil {
		t.Errorf("got %q %v, want %q", b, err, want)
	}
}

// halfLeft: once one side of a tunnel has ended, the other one has no more time than a body has,
// whichever it is and whatever it has waited.
func halfLeft(t *testing.T, mk rig.Maker) {
	for i := range 4 {
		byOrigin, secure := i&1 != 0, i&2 != 0
		ended, over := make(chan struct{}), make(chan struct{})
		o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
			defer close(ended)
			rig.ReadHead(br)
			_, _ = io.WriteString(c, rig.Switched+"first")
			if byOrigin {
				_ = c.(*net.TCPConn).CloseWrite()
			}
			_, _ = io.Copy(io.Discard, br)
			if !byOrigin { // the client has ended, and the origin neither says anything nor ends
				<-over
			}
		})
		h := rig.With(o)
		c := halfClient(t, mk, h, secure, 200*time.Millisecond)
		_, _ = io.WriteString(c, rig.Upgrade)
		rig.Expect(t, c, rig.Switched+"first")
		if !byOrigin {
			_ = c.CloseWrite()
		}
		rig.Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
		rig.Gone(t, "the client's connection", untilEnd(c))
		close(over)
		rig.Gone(t, "the tunnel", ended)
	}
}

// halfStalled: a client that takes nothing, and ends its side, has as much time from there on, however long it has taken nothing before.
func halfStalled(t *testing.T, mk rig.Maker) {
	const rest = 800 * time.Millisecond
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, rig.Switched+"first")
		for b, err := make([]byte, 1<<16), error(nil); err == nil; {
			_, err = c.Write(b)
		}
	})
	h := rig.With(o)
	c := halfClient(t, mk, h, true, rest)
	_, _ = io.WriteString(c, rig.Upgrade)
	rig.Expect(t, c, rig.Switched+"first")
	time.Sleep(2 * rest)
	began := time.Now()
	_ = c.CloseWrite()
	rig.Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
	if took := time.Since(began); took < rest {
		t.Errorf("the rest was given up after %v, want at least %v", took, rest)
	}
}

// halfStream: a client that has ended its side gets every event that comes, and is given up when
// none comes for as long as a body may pause.
func halfStream(t *testing.T, mk rig.Maker) {
	if runtime.GOOS != "linux" {
		return // elsewhere nothing tells of an end that nobody reads
	}
	for _, secure := range []bool{false, true} {
		ended, events := make(chan struct{}), make(chan string)
		o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
			defer close(ended)
			rig.ReadHead(br)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
			for e := range events {
				_, _ = io.WriteString(c, e)
			}
			_, _ = io.Copy(io.Discard, br)
		})
		h := &eventful{rig.With(o)}
		c := halfClient(t, mk, h, secure, time.Second)
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\nHost: a\r\n\r\n")
		_ = c.CloseWrite()
		if s, ok := c.(*tls.Conn); ok { // an alert alone is read by nobody
			_ = s.NetConn().(*net.TCPConn).CloseWrite()
		}
		br := bufio.NewReader(c)
		rig.ReadHead(br)
		events <- "data: 1\n\n"
		rig.Expect(t, br, "data: 1\n\n")
		close(events)
		rig.Eventually(t, "the stream is recorded", func() bool { return len(h.Records()) == 1 })
		if got := h.Records()[0].Cause; got != account.CauseClient {
			t.Errorf("it ended for %v, want the client to be blamed", got)
		}
		rig.Gone(t, "the client's connection", untilEnd(c))
		rig.Gone(t, "the stream", ended)
	}
}

// eventful is a handler all of whose answers are streams of events.
type eventful struct{ *rig.Handler }

func (*eventful) Answered(_ *http1.Request, _ *http1.Response, d *exchange.Decision) {
	d.Silence = time.Hour
}

// halfCloser is a client's connection of which it can end its side.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// halfClient is a client of a driver that has so little time for the rest of what one side has ended.
func halfClient(t *testing.T, mk rig.Maker, h exchange.Handler, secure bool, rest time.Duration) halfCloser {
	t.Helper()
	opt := exchange.Options{Config: exchange.Config{Handler: h}}
	opt.Timeouts.Body = rest
	if !secure {
		addr, _ := rig.Start(t, mk, opt)
		return rig.Dial(t, addr).(*net.TCPConn)
	}
	ln, pool := rig.H2Listener(t)
	opt.Listeners = []exchange.Listener{ln}
	addr, _ := rig.Start(t, mk, opt)
	return tls.Client(rig.Dial(t, addr), &tls.Config{RootCAs: pool, ServerName: "a", NextProtos: []string{"http/1.1"}})
}
