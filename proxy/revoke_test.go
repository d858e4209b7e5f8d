package proxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/proxy"
)

// endless is an instance that answers until its connection ends, and switches protocols where it is asked to.
func endless(t *testing.T) string {
	return rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		switch {
		case err != nil:
		case req.UserAgent() == "portico-check":
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		case req.Header.Get("Upgrade") != "":
			_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
				acceptKey(req.Header.Get("Sec-WebSocket-Key")))
			_, _ = io.Copy(io.Discard, r)
		default:
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			for err == nil {
				time.Sleep(10 * time.Millisecond)
				_, err = io.WriteString(c, "x")
			}
		}
	})
}

// TestRevokedAfterRetired: an instance was retired long ago, and answers and tunnels of it go on, over HTTP/1.1 and HTTP/2. All of them
// end when its member is revoked, or when another machine has taken the member's name.
func TestRevokedAfterRetired(t *testing.T) {
	onEngines(t, func(t *testing.T, o proxy.Options) {
		cert, pool := certificate(t, "shop.test")
		o.Conf.HTTPS, o.TLS = "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}}
		w, agents := newWorldWith(t, o, "m1")
		agents["m1"].route("one", endless(t))
		agents["m1"].route("two", endless(t))
		w.update(func(v *catalog.View) {
			v.Sites["shop"] = shop("r1")
			v.Instances["one"] = instance("one", "m1", "r1")
		})
		w.rotation("one", true)
		open := func() []<-chan error {
			h2 := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "shop.test"}}
			t.Cleanup(h2.CloseIdleConnections)
			var ends []<-chan error
			for _, c := range []*http.Client{w.f.client(), {Transport: h2}} {
				url := "http://shop.test/"
				if c.Transport == h2 {
					url = "https://" + w.f.tls + "/"
				}
				req, err := http.NewRequest(http.MethodGet, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = "shop.test"
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, ended(resp.Body))
			}
			return append(ends, ended(webSocket(t, w.f.http)))
		}
		first := open()
		w.update(func(v *catalog.View) { v.Instances = map[string]*catalog.Instance{"two": instance("two", "m1", "r1")} })
		w.rotation("two", true)
		time.Sleep(2200 * time.Millisecond) // whatever looks after connections has looked twice
		runtime.GC()
		runtime.GC()
		second := open()
		w.update(func(v *catalog.View) {
			m := *v.Members["m1"]
			m.Fingerprint = "another machine"
			v.Members["m1"] = &m
		})
		allEnd(t, "another machine", append(first, second...))
		w.rotation("two", true)
		third := open()
		w.update(func(v *catalog.View) { v.Instances = nil })
		time.Sleep(1200 * time.Millisecond)
		runtime.GC()
		w.update(func(v *catalog.View) {
			m := *v.Members["m1"]
			m.Admission = catalog.Revoked
			v.Members["m1"] = &m
		})
		allEnd(t, "revoked", third)
	})
}

// ended tells how reading ended; the error is nil when it looked complete.
func ended(r io.ReadCloser) <-chan error {
	end := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, r)
		_ = r.Close()
		end <- err
	}()
	return end
}

func allEnd(t *testing.T, why string, ends []<-chan error) {
	t.Helper()
	late := time.After(waitTime) // rawOrigin ends by itself, later
	for i, end := range ends {
		select {
		case err := <-end:
			if err == nil && i%3 != 2 {
				t.Errorf("%s: answer %d looked complete", why, i)
			}
		case <-late:
			t.Fatalf("%s: connection %d goes on", why, i)
		}
	}
}

// webSocket opens one.
func webSocket(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	b := make([]byte, 12)
	if _, err := io.ReadFull(c, b); string(b) != "HTTP/1.1 101" {
		t.Fatalf("got %q, %v", b, err)
	}
	return c
}
