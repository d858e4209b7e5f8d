package proxy_test

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"portico/conf/sites"
)

// TestBodyLimitEndsOneStream: over HTTP/2 a body beyond the site's limit, declared or not, ends its own stream. What the other streams of
// the connection wait for comes, and the next request goes on it.
func TestBodyLimitEndsOneStream(t *testing.T) {
	slow := make(chan struct{})
	release := sync.OnceFunc(func() { close(slow) })
	defer release()
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-slow
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	c := site(addr)
	c.Limits = sites.FrontLimits{Body: 40 << 10}
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, c)
	h := newH2(t, f.tls, pool, "shop.test")
	status := map[uint32]string{}
	wait := func(id uint32) string {
		for status[id] == "" {
			frame, err := h.fr.ReadFrame()
			if err != nil {
				t.Fatalf("stream %d: %v", id, err)
			}
			switch frame := frame.(type) {
			case *http2.GoAwayFrame:
				t.Fatalf("the connection ends: %v", frame)
			case *http2.MetaHeadersFrame:
				status[frame.StreamID] = frame.PseudoValue("status")
			case *http2.RSTStreamFrame:
				if status[frame.StreamID] == "" {
					status[frame.StreamID] = frame.ErrCode.String()
				}
			}
		}
		return status[id]
	}
	fields := func(method, path string, more ...string) []string {
		return append([]string{":method: " + method, ":scheme: https", ":authority: shop.test", ":path: " + path}, more...)
	}
	h.headers(1, fields("GET", "/slow"), true)
	h.headers(3, fields("POST", "/", "content-length: 200000"), false)
	if got := wait(3); got != "413" {
		t.Errorf("declared: %s", got)
	}
	h.headers(5, fields("POST", "/"), false)
	for range 3 { // less than the window

		if err := h.fr.WriteData(5, false, make([]byte, 16<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if got := wait(5); got != "413" {
		t.Errorf("streamed: %s", got)
	}
	release()
	if got := wait(1); got != "200" {
		t.Errorf("the other stream: %s", got)
	}
	h.headers(7, fields("GET", "/"), true)
	if got := wait(7); got != "200" {
		t.Errorf("the next request: %s", got)
	}
}
