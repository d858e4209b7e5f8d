package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"portico/membership/catalog"
)

// TestBytesAfterAnswerThroughAgent: bytes behind an answer reach nobody when they came in the same TLS record as its end, either, and lie
// in the TLS connection, where no look at the socket finds them.
func TestBytesAfterAnswerThroughAgent(t *testing.T) {
	const extra = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	good := strings.Repeat("good", 2500) // more than is read with the head, less than a record
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			addr := rawOrigin(t, serveRaw(func(*http.Request) string {
				return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(good), good, extra)
			}))
			o := options()
			o.Conf.Engine = engine
			w, agents := newWorldWith(t, o, "m1")
			agents["m1"].route("i1", addr)
			w.update(func(v *catalog.View) {
				v.Sites["shop"] = shop("r1")
				v.Instances["i1"] = instance("i1", "m1", "r1")
			})
			w.rotation("i1", true)
			c := w.f.client()
			for i := range 20 {
				if _, body := get(t, c, "http://shop.test/"); body != good {
					t.Fatalf("request %d got %.60q", i, body)
				}
			}
		})
	}
}

// TestPostUnread: a POST on a kept connection that the instance closes in this moment reaches it once, and the visitor sees nothing of
// that, where its agent proves that nothing of it was read.
func TestPostUnread(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var posts atomic.Int64
			addr := rawOrigin(t, func(c net.Conn, br *bufio.Reader) {
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					if r.Method == http.MethodPost {
						posts.Add(1)
					}
					b, _ := io.ReadAll(r.Body)
					_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
				}
			})
			o := options()
			o.Conf.Engine = engine
			w, agents := newWorldWith(t, o, "m1")
			agents["m1"].route("i1", addr)
			w.update(func(v *catalog.View) {
				v.Sites["shop"] = shop("r1")
				v.Instances["i1"] = instance("i1", "m1", "r1")
			})
			w.rotation("i1", true)
			c := w.f.client()
			for i := range 5 {
				get(t, c, "http://shop.test/")
				agents["m1"].unread.Store(true)
				resp, err := c.Post("http://shop.test/", "text/plain", strings.NewReader("order"))
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 200 || string(b) != "order" || posts.Load() != int64(i+1) || agents["m1"].unread.Load() {
					t.Fatalf("%s %q, the instance had %d of %d; its agent waits for one: %v", resp.Status, b, posts.Load(), i+1, agents["m1"].unread.Load())
				}
			}
		})
	}
}

// TestExpectationRefused: an instance that answers at once where a body was promised still waits for that body. The next request on
// the connection would be taken for it.
func TestExpectationRefused(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			addr := rawOrigin(t, func(c net.Conn, br *bufio.Reader) {
				r, err := http.ReadRequest(br)
				if err != nil {
					return
				}
				if r.Method == http.MethodGet {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood")
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
				if b, _ := io.ReadAll(br); len(b) > 0 {
					t.Errorf("for a body of %d bytes came %.60q", r.ContentLength, b)
				}
			})
			o := options()
			o.Conf.Engine = engine
			f := start(t, o, site(addr))
			got := f.raw("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 401 ") {
				t.Fatalf("got %q", got)
			}
			if _, body := get(t, f.client(), "http://shop.test/"); body != "good" {
				t.Errorf("the next request got %q", body)
			}
		})
	}
}

// TestContinueForNothingOverHTTP2: where there is no body, nothing is said about one, whatever the instance says (RFC 9110, 10.1.1).
func TestContinueForNothingOverHTTP2(t *testing.T) {
	addr := rawOrigin(t, func(c net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if r.Header.Get("Expect") != "" {
				t.Errorf("the instance was asked %q", r.Header)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(addr))
	c := newH2(t, f.tls, pool, "shop.test")
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
		for _, length := range [][]string{nil, {"content-length: 0"}} {
			fields := append([]string{":method: " + method, ":authority: shop.test", ":scheme: https", ":path: /", "expect: 100-continue"}, length...)
			if got := c.ask(fields...); got != "200" {
				t.Errorf("%s %q: %s first", method, length, got)
			}
		}
	}
}
