package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestBytesOut: the engines count what they send, heads too, as HAProxy's bout does. The standard
// library's server, which serves HTTP/2 and HTTP/3, packs heads out of sight: there it is bodies alone.
func TestBytesOut(t *testing.T) {
	const body = 1000
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", fmt.Sprint(body))
			_, _ = io.WriteString(w, strings.Repeat("x", body))
		case "/chunked":
			for range 4 {
				_, _ = io.WriteString(w, strings.Repeat("x", body/4))
				_ = http.NewResponseController(w).Flush()
			}
		case "/none":
			w.WriteHeader(http.StatusNotModified)
		}
	})
	f := start(t, options(), site(addr))
	v := visitor(t, f)
	least, most := uint64(0), uint64(0)
	for _, tt := range []struct {
		method, path string
		body         uint64
	}{{"GET", "/length", body}, {"GET", "/chunked", body}, {"HEAD", "/length", 0}, {"GET", "/none", 0}} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, "http://shop.test"+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := v.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		least += tt.body
		least, most = least+uint64(len("HTTP/1.1 200 OK\r\n\r\n")), most+1000
		most += tt.body
		f.eventually(fmt.Sprintf("%s %s: from %d to %d bytes are counted in all", tt.method, tt.path, least, most), func() bool {
			n := f.Balancer().Pool("shop").Snapshot(0).BytesOut
			return least <= n && n <= most
		})
	}
}
