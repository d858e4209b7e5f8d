package exchangetest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

// leftovers: what is left of an upload that its origin gave up in the middle reaches nobody, neither in a download nor in an upload, and
// is not in anybody's way. The sizes are such that the origin's end finds the upload in every place between the client and the origin.
func leftovers(t *testing.T, mk rig.Maker) {
	for name, end := range map[string]func(*testing.T, net.Conn){
		"reset":     func(_ *testing.T, c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
		"end":       func(*testing.T, net.Conn) {},
		"malformed": func(_ *testing.T, c net.Conn) { _, _ = io.WriteString(c, "HTTP/9 200 OK\r\n\r\n") },
		"refusal": func(_ *testing.T, c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nbig\n")
			time.Sleep(50 * time.Millisecond)
			_ = c.(*net.TCPConn).SetLinger(0)
		},
		"silence": func(t *testing.T, _ net.Conn) { <-t.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leftover(t, mk, end, name == "silence")
		})
	}
}

const leftoverSize = 1 << 20

// leftover has uploads given up that way. Where an origin says nothing, the proxy waits for a short time only, and may find the others late
// as well on a busy machine: they are asked again.
func leftover(t *testing.T, mk rig.Maker, end func(*testing.T, net.Conn), silent bool) {
	deaf := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		rig.ReadHead(br)
		time.Sleep(200 * time.Millisecond) // until nothing moves any more
		end(t, c)
	})
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) { serveLeftover(t, c, br) })
	h := rig.With(o, deaf)
	h.Decide = func(r *http1.Request, _ *exchange.Peer, d *exchange.Decision) {
		if string(r.Target) == "/alice" {
			d.Upstream = h.Upstreams[1]
		}
	}
	opt := rig.Options(h)
	if silent {
		opt.Timeouts.Response = 4 * time.Second
	}
	addr, d := rig.Start(t, mk, opt)
	var wg sync.WaitGroup
	for size := 192 << 10; size < 8<<20; size += size / 6 {
		wg.Go(func() { abandoned(t, addr, size, silent) })
	}
	wg.Wait()
	for range 4 {
		rig.Eventually(t, "the next download is answered", func() bool { return download(t, addr, silent) })
	}
	for range 4 {
		rig.Eventually(t, "the next upload is answered", func() bool { return upload(t, rig.Dial(t, addr), leftoverSize, silent) })
	}
	rig.Eventually(t, "all clients are gone", func() bool { return d.Stats().Clients == 0 })
}

// abandoned uploads what the origin will not take, and goes on with the same connection where it can.
func abandoned(t *testing.T, addr string, size int, silent bool) {
	c := rig.Dial(t, addr)
	br := bufio.NewReader(c)
	go func() {
		_, _ = io.WriteString(c, fmt.Sprintf("POST /alice HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size))
		_, _ = io.WriteString(c, strings.Repeat("A", size))
	}()
	r, err := http.ReadResponse(br, nil)
	if err != nil {
		return
	}
	if _, err = io.Copy(io.Discard, r.Body); err == nil && !r.Close {
		upload(t, c, leftoverSize, silent)
	}
	_ = c.Close()
}

// download gets the letter C and nothing else. It reports false where the proxy found the origin late, and may: before the answer or in it.
func download(t *testing.T, addr string, mayBeLate bool) bool {
	b := rig.Exchange(t, addr, "GET /carol HTTP/1.1\r\nHost: a\r\n\r\n")
	_, body, _ := strings.Cut(b, "\r\n\r\n")
	whole := body == strings.Repeat("C", leftoverSize)
	late := mayBeLate && !whole && (strings.HasPrefix(b, "HTTP/1.1 504 ") || strings.Trim(strings.TrimSuffix(body, "<reset>"), "C") == "")
	if !whole && !late {
		t.Errorf("the next download got %s", letters(b))
	}
	return !late
}

// upload sends a body of the letter B, which the origin must have got as it is. It reports false where the proxy found the origin late, and
// may.
func upload(t *testing.T, c net.Conn, size int, mayBeLate bool) bool {
	t.Helper()
	go func() {
		_, _ = io.WriteString(c, fmt.Sprintf("POST /bob HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("B", size)))
	}()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	defer func() { _ = c.Close() }()
	if mayBeLate && err == nil && r.StatusCode == http.StatusGatewayTimeout {
		return false
	}
	if err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("the next upload was answered %+v (%v)", r, err)
	}
	return true
}

// serveLeftover answers downloads with the letter C, and uploads if they are as they should be.
func serveLeftover(t *testing.T, c net.Conn, br *bufio.Reader) {
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if r.Method == http.MethodGet {
			_, err = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", leftoverSize, bytes.Repeat([]byte("C"), leftoverSize))
		} else {
			var b []byte
			if b, err = io.ReadAll(r.Body); err == nil && string(b) != strings.Repeat("B", len(b)) {
				t.Errorf("the next upload arrived as %s", letters(string(b)))
			}
			_, _ = io.WriteString(c, table.Hello)
		}
		if err != nil {
			return
		}
	}
}

// letters counts those of a body.
func letters(s string) string {
	_, body, ok := strings.Cut(s, "\r\n\r\n")
	if !ok {
		body = s
	}
	return fmt.Sprintf("%d A, %d B, %d C of %d bytes", strings.Count(body, "A"), strings.Count(body, "B"), strings.Count(body, "C"), len(body))
}
