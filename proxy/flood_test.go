package proxy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawH2 is a connection whose frames the test writes itself.
type rawH2 struct {
	*http2.Framer
	conn *tls.Conn
	head []byte // the fields of a GET
}

func dialH2(t *testing.T, addr string, pool *x509.CertPool) *rawH2 {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	_, _ = io.WriteString(c, http2.ClientPreface)
	r := &rawH2{Framer: http2.NewFramer(c, c), conn: c}
	_ = r.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "shop.test"}, {":path", "/"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	r.head = block.Bytes()
	return r
}

// request opens a stream; end says that no body follows.
func (r *rawH2) request(id uint32, end, whole bool) error {
	return r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.head, EndStream: end, EndHeaders: whole})
}

// TestHTTP2Floods: frames that move nothing are taken until their budget is used
// up, whether the client reads the answers or not; then the connection ends (N3).
func TestHTTP2Floods(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(addr))
	const floods = 16
	t.Cleanup(func() { // when all of them are over
		f.eventually("every flood is counted as a connection that a rule has ended", func() bool {
			s := f.Snapshot().Frontends[1]
			return s.H2Sessions == floods && s.DeniedConns == floods
		})
	})
	for name, tt := range map[string]struct {
		first func(*rawH2) error
		frame func(*rawH2) error
	}{
		"ping": {nil, func(r *rawH2) error { return r.WritePing(false, [8]byte{1}) }},
		"settings": {nil, func(r *rawH2) error {
			return r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		}},
		"priority":     {nil, func(r *rawH2) error { return r.WritePriority(3, http2.PriorityParam{Weight: 1}) }},
		"window":       {nil, func(r *rawH2) error { return r.WriteWindowUpdate(0, 1) }},
		"unknown":      {nil, func(r *rawH2) error { return r.WriteRawFrame(0xbe, 0, 0, []byte("grease")) }},
		"continuation": {func(r *rawH2) error { return r.request(1, true, false) }, func(r *rawH2) error { return r.WriteContinuation(1, false, nil) }},
		"empty data":   {func(r *rawH2) error { return r.request(1, false, true) }, func(r *rawH2) error { return r.WriteData(1, false, nil) }},
		"padding":      {func(r *rawH2) error { return r.request(1, false, true) }, func(r *rawH2) error { return r.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{0}) }},
	} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s reads=%v", name, reads), func(t *testing.T) {
				t.Parallel()
				r := dialH2(t, f.tls, pool)
				if tt.first != nil {
					if err := tt.first(r); err != nil {
						t.Fatal(err)
					}
				}
				var answers atomic.Int64
				ended := make(chan error, 1)
				read := func() {
					for {
						frame, err := r.ReadFrame()
						if err != nil {
							ended <- err
							return
						}
						if s, ok := frame.(*http2.SettingsFrame); ok && s.IsAck() || frame.Header().Type == http2.FramePing {
							answers.Add(1)
						}
					}
				}
				if reads {
					go read()
				}
				sent := 0
				for sent < 500_000 && tt.frame(r) == nil {
					sent++
				}
				if sent == 500_000 {
					t.Errorf("%d frames and the connection is still open", sent)
					_ = r.conn.Close()
				}
				if !reads {
					go read()
				}
				if err := <-ended; strings.Contains(err.Error(), "timeout") {
					t.Errorf("the connection did not end: %v", err)
				}
				// 1000 at once and 10 for each second; the rest of the minute is patience.
				if n := answers.Load(); n > 1700 {
					t.Errorf("%d answers to %d frames", n, sent)
				}
			})
		}
	}
}

// TestHTTP2Only: who has agreed on HTTP/2 cannot speak HTTP/1.
func TestHTTP2Only(t *testing.T) {
	var asked atomic.Int64
	addr, _ := origin(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/h1" { // no check of ours
			asked.Add(1)
		}
	})
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(addr))
	for _, pieces := range [][]string{
		{"GET /h1 HTTP/1.1\r\nHost: shop.test\r\n\r\n"},
		{"GET /h1 HTTP/1.1\nHost: shop.test\nX:  y\n\n"},
		{http2.ClientPreface[:18], "\r\nGET /h1 HTTP/1.1\r\nHost: shop.test\r\n\r\n"},
		{"P", "OST /h1 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n"},
	} {
		c, err := tls.Dial("tcp", f.tls, &tls.Config{RootCAs: pool, ServerName: "shop.test", NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(60 * time.Second))
		for _, p := range pieces {
			_, _ = io.WriteString(c, p)
		}
		if b, _ := io.ReadAll(c); bytes.Contains(b, []byte(" 200 ")) {
			t.Errorf("%q: got %q", pieces, b)
		}
		_ = c.Close()
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests reached the instance", n)
	}
}

// TestHTTP2SlowResets: a client that gives up each request after it has reached
// the instance, never many at a time, is cut as well (N2).
func TestHTTP2SlowResets(t *testing.T) {
	came := make(chan struct{}, 1)
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "portico-check" {
			came <- struct{}{}
			<-r.Context().Done()
		}
	})
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(addr))
	r := dialH2(t, f.tls, pool)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := r.ReadFrame(); err != nil {
				return
			}
		}
	}()
	const most = 1500 // the budget is 1000
	for i := range most {
		if r.request(uint32(2*i+1), true, true) != nil {
			break
		}
		select {
		case <-came:
		case <-ended:
		}
		if r.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel) != nil {
			break
		}
	}
	select {
	case <-ended:
	case <-time.After(waitTime):
		t.Errorf("%d requests given up and the connection is still open", most)
	}
}

// TestHTTP2BusyClient: a client that takes back every byte of room by itself and
// asks now and then whether we live is none of the above: it spends the budget three times over and earns it back.
func TestHTTP2BusyClient(t *testing.T) {
	const size = 8 << 20
	body := strings.Repeat("0123456789abcdef", size/16)
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, body) })
	o, pool := tlsOptions(t, "shop.test")
	f := start(t, o, site(addr))
	r := dialH2(t, f.tls, pool)
	for id := uint32(1); id < 5; id += 2 {
		if err := r.request(id, true, true); err != nil {
			t.Fatal(err)
		}
		for got, end := 0, false; !end; {
			frame, err := r.ReadFrame()
			if err != nil {
				t.Fatalf("stream %d, %d bytes: %v, %d connections denied", id, got, err, f.Snapshot().Frontends[1].DeniedConns)
			}
			if g, ok := frame.(*http2.GoAwayFrame); ok {
				t.Fatalf("stream %d, %d bytes: %v %s", id, got, g.ErrCode, g.DebugData())
			}
			if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
				_ = r.WriteSettingsAck()
			}
			if d, ok := frame.(*http2.DataFrame); ok {
				n := len(d.Data())
				if got, end = got+n, d.StreamEnded(); n > 0 {
					_, _, _ = r.WriteWindowUpdate(0, uint32(n)), r.WriteWindowUpdate(id, uint32(n)), r.WritePing(false, [8]byte{})
				}
				if end && got != size {
					t.Errorf("stream %d: %d bytes", id, got)
				}
			}
		}
	}
}
