package proxy_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/balancer"
)

// acceptKey proves that a key was read (RFC 6455, 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const upgradeHead = "Host: shop.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(waitTime))
	return c
}

// until reads lines until one starts with prefix.
func until(t testing.TB, br *bufio.Reader, prefix string) string {
	t.Helper()
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", prefix, err)
		}
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
}

// webSocketServer answers handshakes and echoes bytes.
func webSocketServer(t testing.TB, name string) string {
	return rawOrigin(t, func(c net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhttp")
			return
		}
		switch r.URL.Path {
		case "/refuse":
			_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			return
		case "/wrong":
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\nhello from %s\n",
			acceptKey(r.Header.Get("Sec-WebSocket-Key")), name)
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				_, _ = io.WriteString(c, "bye\n") // after the client's half-close
				return
			}
			_, _ = io.WriteString(c, "echo "+line)
		}
	})
}

// TestWebSocket: the handshake passes, bytes sent together with it arrive, each
// direction ends by itself, and the visitor stays (P20).
func TestWebSocket(t *testing.T) {
	f := start(t, options(), site(webSocketServer(t, "a"), webSocketServer(t, "b")))
	c := dial(t, f.http)
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\n%s\r\nearly\n", upgradeHead)
	br := bufio.NewReader(c)
	until(t, br, "HTTP/1.1 101 ")
	cookie := until(t, br, "Set-Cookie: ")
	hello := until(t, br, "hello from ")
	if line := until(t, br, "echo"); line != "echo early\n" {
		t.Errorf("early bytes came back as %q", line)
	}
	for i := range 100 {
		fmt.Fprintf(c, "m%d\n", i)
		if line := until(t, br, "echo"); line != fmt.Sprintf("echo m%d\n", i) {
			t.Fatalf("got %q", line)
		}
	}
	if n := f.Snapshot().Tunnels; n != 1 {
		t.Errorf("%d tunnels counted", n)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	until(t, br, "bye")
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after both ends: %v", err)
	}
	f.eventually("tunnel accounted", func() bool { return strings.Contains(f.log.String(), `"status":101`) })

	value, _, _ := strings.Cut(strings.TrimPrefix(cookie, "Set-Cookie: "), ";")
	for range 5 {
		c := dial(t, f.http)
		fmt.Fprintf(c, "GET /ws HTTP/1.1\r\n%sCookie: %s\r\n\r\n", upgradeHead, value)
		if again := until(t, bufio.NewReader(c), "hello from "); again != hello {
			t.Errorf("a pinned WebSocket went to %q, not %q", again, hello)
		}
		_ = c.Close()
	}
}

// TestLongWebSocketKeepsItsSession: who only talks through a WebSocket sends no cookie,
// and has a session all the same.
func TestLongWebSocketKeepsItsSession(t *testing.T) {
	for _, engine := range []string{"auto", "conn"} {
		o := options()
		o.Conf.Engine = engine
		f := start(t, o, site(webSocketServer(t, "a")))
		c := dial(t, f.http)
		fmt.Fprintf(c, "GET /ws HTTP/1.1\r\n%s\r\n", upgradeHead)
		br := bufio.NewReader(c)
		until(t, br, "hello from ")
		later := time.Now().Add(10 * time.Hour)
		kept := func() int {
			f.KeepLongLived(later)
			list, _ := f.Balancer().Sessions().List("shop", 10, func(s *balancer.SessionInfo) bool { return s.Last >= later.Unix() })
			return len(list)
		}
		if n := kept(); n != 1 {
			t.Errorf("%s: %d sessions of open WebSockets are in use", engine, n)
		}
		_ = c.Close()
		f.eventually("the tunnel ends", func() bool { return f.Snapshot().Tunnels == 0 })
		later = later.Add(time.Hour)
		if n := kept(); n != 0 {
			t.Errorf("%s: %d sessions are in use by a WebSocket that is closed", engine, n)
		}
	}
}

// TestUpgradesThatAreNotPassed: anything but WebSocket over HTTP/1.1 stays HTTP,
// and a 101 to something else is an error (P20, P21).
func TestUpgradesThatAreNotPassed(t *testing.T) {
	f := start(t, options(), site(webSocketServer(t, "a")))
	for name, tt := range map[string]struct{ request, want string }{
		"h2c":      {"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", "HTTP/1.1 200 "},
		"HTTP/1.0": {"GET / HTTP/1.0\r\n" + upgradeHead + "\r\n", "HTTP/1.0 200 "},
		"POST":     {"POST / HTTP/1.1\r\n" + upgradeHead + "\r\n", "HTTP/1.1 200 "},
		"no token": {"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 200 "},
		"refused":  {"GET /refuse HTTP/1.1\r\n" + upgradeHead + "\r\n", "HTTP/1.1 403 "},
		"wrong":    {"GET /wrong HTTP/1.1\r\n" + upgradeHead + "\r\n", "HTTP/1.1 502 "},
	} {
		t.Run(name, func(t *testing.T) {
			answer := f.raw(tt.request)
			if name == "HTTP/1.0" { // either version may answer it (RFC 9110 section 2.5)
				answer = strings.Replace(answer, "HTTP/1.1 ", "HTTP/1.0 ", 1)
			}
			if !strings.HasPrefix(answer, tt.want) || strings.Count(answer, "HTTP/1.") != 1 {
				t.Errorf("got %.200q, want %q once", answer, tt.want)
			}
		})
	}
}

// passing is a context whose deadline passes when the test says so.
type passing struct {
	context.Context
	done chan struct{}
}

func (p passing) Done() <-chan struct{} { return p.done }

func (p passing) Err() error {
	select {
	case <-p.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// TestShutdownDrains: requests and WebSockets that run may finish until the
// deadline; then they are cut (R8).
func TestShutdownDrains(t *testing.T) {
	f := start(t, options(), site(webSocketServer(t, "a")))
	c := dial(t, f.http)
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\n%s\r\n", upgradeHead)
	br := bufio.NewReader(c)
	until(t, br, "hello")
	done := make(chan error, 1)
	deadline := passing{context.Background(), make(chan struct{})}
	go func() { done <- f.Shutdown(deadline) }()
	f.eventually("readiness gone", func() bool { return !f.Ready() })
	f.eventually("no new connections", func() bool {
		c, err := net.Dial("tcp", f.http)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	fmt.Fprint(c, "still here\n")
	if line := until(t, br, "echo"); line != "echo still here\n" {
		t.Errorf("while draining: %q", line)
	}
	close(deadline.done)
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v, want the deadline", err)
	}
	if _, err := br.ReadByte(); err == nil {
		t.Error("the WebSocket is still open after the deadline")
	}
}
