package proxy_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/internal/units"
	"portico/proxy/loop"
	"portico/tests/support/race"
)

// engines are the ones of this system.
func engines() []string {
	if loop.Supported {
		return []string{"loop", "conn"}
	}
	return []string{"conn"}
}

// quietOrigin answers every request of at most 8 KiB with the same bytes and allocates nothing for it.
func quietOrigin(t testing.TB, bodyLen int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello")
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				buf := make([]byte, 16<<10)
				for {
					n := 0
					for end := -1; end < 0 || n < end; {
						k, err := c.Read(buf[n:])
						if err != nil {
							return
						}
						n += k
						if end < 0 {
							if i := bytes.Index(buf[:n], []byte("\r\n\r\n")); i >= 0 {
								end = i + 4
								if buf[0] == 'P' {
									end += bodyLen
								}
							}
						}
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			})
		}
	})
	return ln.Addr().String()
}

// TestEnginesAllocateNothing: a request on a kept connection, with the cookie that pins its visitor, with and without a body, log and
// counters on.
func TestEnginesAllocateNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	for _, engine := range engines() {
		for _, body := range []string{"", strings.Repeat("b", 1000)} {
			t.Run(engine+"/"+map[bool]string{true: "body", false: "none"}[body != ""], func(t *testing.T) {
				o := options()
				o.Conf.Engine = engine
				shop := site(quietOrigin(t, len(body)))
				shop.Health.Interval = units.Duration(time.Hour) // checks allocate, the more the slower the machine is
				f := start(t, o, shop)
				c := dial(t, f.http)
				head := "GET /shop HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: test\r\nAccept: */*\r\n"
				if body != "" {
					head = "POST /shop HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: test\r\nContent-Length: 1000\r\n"
				}
				_, _ = io.WriteString(c, head+"\r\n"+body)
				first := make([]byte, 4096)
				n, err := c.Read(first)
				if err != nil {
					t.Fatal(err)
				}
				_, rest, ok := strings.Cut(string(first[:n]), "Set-Cookie: ")
				if !ok {
					t.Fatalf("no cookie in %q", first[:n])
				}
				cookie, _, _ := strings.Cut(rest, ";")
				request := []byte(head + "Cookie: " + cookie + "\r\n\r\n" + body)
				answer := make([]byte, 4096)
				round := func(times int) {
					for range times {
						if _, err := c.Write(request); err != nil {
							t.Fatal(err)
						}
						if n, err := c.Read(answer); err != nil || !bytes.HasSuffix(answer[:n], []byte("hello")) || bytes.Contains(answer[:n], []byte("Set-Cookie")) {
							t.Fatalf("%q %v", answer[:n], err)
						}
					}
				}
				round(200)
				var before, after runtime.MemStats
				const requests = 2000
				runtime.ReadMemStats(&before)
				round(requests)
				runtime.ReadMemStats(&after)
				// The log's writer works meanwhile, so it is not quite zero.
				if each := float64(after.Mallocs-before.Mallocs) / requests; each > 0.25 {
					t.Errorf("%.2f allocations a request", each)
				}
			})
		}
	}
}
