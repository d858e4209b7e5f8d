package loop_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/proxy/exchange/exchangetest/rig"
)

const (
	wide      = 100       // streams of a connection
	again     = 2         // as often does each client what it does
	partSize  = 128 << 10 // of a body where there are that many
	updates   = 1_000_000
	floodOnce = 16 << 10 // bytes of frames that a flood sends with one write
)

// h2 is the clients that speak HTTP/2.
func (x *mix) h2(wg *sync.WaitGroup) {
	wg.Go(func() { x.wide("GET", "/part", "", partSize) })
	wg.Go(func() { x.wide("POST", "/", x.big[:partSize], 5) })
	wg.Go(func() { x.wide("GET", "/", "", 5) })
	wg.Go(x.sips)
	get := x.block("/")
	data := func(f *http2.Framer, id uint32) { _ = f.WriteData(id, false, nil) }
	// What a client sends again and again until it is stopped, on streams of its own where it needs one.
	for _, frames := range []func(f *http2.Framer, id uint32){
		func(f *http2.Framer, _ uint32) { _ = f.WriteWindowUpdate(0, 1) },
		func(f *http2.Framer, _ uint32) { _ = f.WritePing(false, [8]byte{}) },
		func(f *http2.Framer, _ uint32) {
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		},
		func(f *http2.Framer, id uint32) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: get, EndStream: true, EndHeaders: true})
			_ = f.WriteRSTStream(id, http2.ErrCodeCancel)
		},
		func(f *http2.Framer, id uint32) {
			if id == 1 {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: get, EndHeaders: true})
			}
			data(f, 1)
		},
		func(f *http2.Framer, id uint32) {
			if id == 1 {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: get})
			}
			_ = f.WriteContinuation(1, false, nil)
		},
		func(f *http2.Framer, id uint32) {
			_ = f.WritePriority(id, http2.PriorityParam{Weight: 7})
		},
	} {
		wg.Go(func() { x.storm(frames) })
	}
}

// wide uses a hundred streams of a connection at a time.
func (x *mix) wide(method, path, body string, want int) {
	tr := &http.Transport{TLSClientConfig: x.cfg.Clone(), Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true}}
	tr.Protocols.SetHTTP2(true)
	defer tr.CloseIdleConnections()
	var wg sync.WaitGroup
	for range wide {
		wg.Go(func() {
			for range again {
				r, err := http.NewRequest(method, "https://"+x.secure+path, strings.NewReader(body))
				if err != nil {
					x.t.Error(err)
					return
				}
				a, err := tr.RoundTrip(r)
				if err != nil {
					x.t.Errorf("%s %s: %v", method, path, err)
					return
				}
				n, err := io.Copy(io.Discard, a.Body)
				_ = a.Body.Close()
				if err != nil || n != int64(want) {
					x.t.Errorf("%s %s: %d bytes of %d: %v", method, path, n, want, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// dialH2 opens a connection that speaks HTTP/2; what comes on it is read and dropped unless the client reads itself.
func (x *mix) dialH2(window uint32) (net.Conn, *http2.Framer) {
	cfg := x.cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	c := tls.Client(rig.Dial(x.t, x.secure), cfg)
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	return c, f
}

// block is the fields of a request.
func (x *mix) block(path string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "a"}, {Name: ":path", Value: path}} {
		_ = e.WriteField(f)
	}
	return b.Bytes()
}

// storm sends frames, many with each write, until a million have gone or it was stopped, and again.
func (x *mix) storm(frames func(*http2.Framer, uint32)) {
	for range again {
		c, _ := x.dialH2(1 << 20)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		var out bytes.Buffer
		f := http2.NewFramer(&out, nil)
		for n := uint32(0); n < updates/again; {
			for out.Reset(); out.Len() < floodOnce; n++ {
				frames(f, 2*n+1)
			}
			if _, err := c.Write(out.Bytes()); err != nil {
				break
			}
		}
		_ = c.Close()
	}
}

// sips lets a hundred large answers wait for a window of a byte, and takes one of them byte by byte.
func (x *mix) sips() {
	c, f := x.dialH2(1)
	defer func() { _ = c.Close() }()
	big := x.block("/part")
	for i := range wide {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: big, EndStream: true, EndHeaders: true})
	}
	for taken := 0; taken < 200; {
		fr, err := f.ReadFrame()
		if err != nil {
			x.t.Errorf("after %d sips: %v", taken, err)
			return
		}
		switch fr := fr.(type) {
		case *http2.DataFrame:
			if fr.StreamID == 1 {
				taken++
				_ = f.WriteWindowUpdate(1, 1)
			}
		case *http2.SettingsFrame:
			if !fr.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.GoAwayFrame:
			x.t.Errorf("after %d sips: %s", taken, fmt.Sprint(fr))
			return
		}
	}
}
