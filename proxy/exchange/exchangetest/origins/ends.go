package origins

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"portico/proxy/exchange"
	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/http1"
)

// originResets: a stream that the origin resets ends its own answer and no other; one that it has refused goes again.
func originResets(t *testing.T, mk rig.Maker) {
	o := h2Origin(t, nil, func(n int, _ net.Conn, fr *http2.Framer) {
		refused := false
		requests(fr, func(id uint32) bool {
			switch {
			case n == 1 && id == 1:
				say(fr, id, false, status200)
				_ = fr.WriteData(id, false, []byte("half"))
				_ = fr.WriteRSTStream(id, http2.ErrCodeInternal)
			case n == 1 && id == 3 && !refused:
				refused = true
				_ = fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
			default:
				say(fr, id, true, status204)
			}
			return true
		})
	})
	h := toward(o)
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"); !strings.HasSuffix(got, ">") && !strings.HasPrefix(got, "HTTP/1.1 502 ") { // the reset may come before the head was passed on
		t.Errorf("a cut answer looks whole: %q", got)
	}
	if got := rig.Exchange(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"); !strings.HasPrefix(got, "HTTP/1.1 204 ") {
		t.Errorf("refused: %q", got)
	}
}

// givesUp: what the origin gives up, its client hears of in the same words, and nobody else is asked.
func givesUp(t *testing.T, mk rig.Maker) {
	var mu sync.Mutex
	asked := 0
	o := h2Origin(t, nil, func(_ int, _ net.Conn, fr *http2.Framer) {
		requests(fr, func(id uint32) bool {
			mu.Lock()
			asked++
			mu.Unlock()
			_ = fr.WriteRSTStream(id, http2.ErrCodeCancel)
			return true
		})
	})
	h := toward(o)
	h.Upstreams = append(h.Upstreams, h.Upstreams[0])
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	if got := c.Open(true, "GET /").Over(); got.Reset != "CANCEL" || got.Head != "" {
		t.Errorf("%+v", got)
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("%q", got)
	}
	if mu.Lock(); asked != 2 || o.Accepted() > 2 {
		t.Errorf("%d requests on %d connections", asked, o.Accepted())
	}
	mu.Unlock()
	for _, r := range h.Records() {
		if r.Cause != account.CauseReset || r.Status != 502 || r.Attempts != 1 {
			t.Errorf("%+v", r)
		}
	}
}

// goes: an origin that goes finishes what it has begun; the rest is asked again, a POST too.
func goes(t *testing.T, mk rig.Maker) {
	o := h2Origin(t, nil, func(n int, c net.Conn, fr *http2.Framer) {
		requests(fr, func(id uint32) bool {
			switch {
			case n == 1 && id == 3:
				_ = fr.WriteGoAway(1, http2.ErrCodeNo, nil)
				say(fr, 1, false, status200)
				_ = fr.WriteData(1, true, []byte("first"))
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
				return false
			case n > 1:
				say(fr, id, false, status200)
				_ = fr.WriteData(id, true, []byte("again"))
			}
			return true
		})
	})
	c, _ := rig.StartH2(t, mk, rig.Options(toward(o)), rig.H2Settings{})
	first, second := c.Open(true, "POST /1"), c.Open(true, "POST /2")
	a, b := first.Over(), second.Over()
	if a.Body == "again" {
		a, b = b, a // the streams are served by goroutines of their own
	}
	if a.Body != "first" || b.Body != "again" {
		t.Errorf("%+v, %+v", a, b)
	}
}

// dies: what may go again does when a connection dies, what may not is answered with 502.
func dies(t *testing.T, mk rig.Maker) {
	waits := make(chan struct{}, 1)
	o := h2Origin(t, nil, func(n int, c net.Conn, fr *http2.Framer) {
		requests(fr, func(id uint32) bool {
			switch {
			case n > 1, id == 1:
				say(fr, id, true, status204)
			case id == 3:
				waits <- struct{}{}
			default:
				_ = c.(*net.TCPConn).SetLinger(0)
				return false
			}
			return true
		})
	})
	c, _ := rig.StartH2(t, mk, rig.Options(toward(o)), rig.H2Settings{})
	c.Open(true, "GET /").Over()
	get := c.Open(true, "GET /")
	within(t, "a request", waits)
	post := c.Open(false, "POST /")
	post.Send([]byte("hello"), true)
	a, b := get.Over(), post.Over()
	if a.Status() != "204" || b.Status() != "502" {
		t.Errorf("GET: %+v, POST: %+v", a, b)
	}
}

// whole: an answer that has come whole reaches a slow client although the origin has closed the connection behind it.
func whole(t *testing.T, mk rig.Maker) {
	o := h2Origin(t, nil, func(_ int, c net.Conn, fr *http2.Framer) {
		requests(fr, func(id uint32) bool {
			say(fr, id, false, status200)
			for range 3 {
				_ = fr.WriteData(id, false, make([]byte, 16<<10))
			}
			_ = fr.WriteData(id, true, []byte("end"))
			return false
		})
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	ln, pool := rig.H2Listener(t)
	opt := rig.Options(toward(o))
	opt.Listeners = []exchange.Listener{ln}
	addr, d := rig.Start(t, mk, opt)
	c := rig.DialH2(t, addr, pool, rig.H2Settings{Window: 100, Keeps: true})
	s := c.Open(true, "GET /")
	s.Until("its head", func(a *rig.H2Answer) bool { return a.Head != "" })
	rig.Eventually(t, "the connection has ended", func() bool { return d.Stats().Upstreams == 0 })
	s.Room(1 << 20)
	c.Write(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, 1<<20) })
	if got := s.Over(); len(got.Body) != 48<<10+3 || !got.Ended {
		t.Errorf("%d bytes, ended %v, reset %q", len(got.Body), got.Ended, got.Reset)
	}
}

// noHTTP2: an origin that speaks HTTP/1 is answered for with 502.
func noHTTP2(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	addr, _ := rig.Start(t, mk, rig.Options(toward(o)))
	if got := rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("%q", got)
	}
}

// mute: one that takes connections and says nothing is given up in the time of a connection, and the next one is asked.
func mute(t *testing.T, mk rig.Maker) {
	mute := rig.NewRawOrigin(t, func(_ int, c net.Conn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, c) })
	m := newMulti(t, tell, 0, nil)
	h := &rig.Handler{Upstreams: []*exchange.Upstream{{Addr: mute.Addr(), HTTP2: true}, m.upstream()}}
	h.Decide = func(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) { d.Connect = 200 * time.Millisecond }
	addr, _ := rig.Start(t, mk, rig.Options(h))
	if got := rig.Exchange(t, addr, "GET /length HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasSuffix(got, "hello") {
		t.Errorf("%q", got)
	}
}

func allDown(t *testing.T, mk rig.Maker) {
	up := rig.ClosedPort(t)
	up.HTTP2 = true
	c, _ := rig.StartH2(t, mk, rig.Options(&rig.Handler{Upstreams: []*exchange.Upstream{up}}), rig.H2Settings{})
	var all []*rig.H2Stream
	for range 20 {
		all = append(all, c.Open(true, "GET /"))
	}
	for _, s := range all {
		if got := s.Over(); got.Status() != "502" {
			t.Errorf("%+v", got)
		}
	}
}

// quiet: two sides that talk may be quiet for longer than a body or an answer may pause, and for no longer than a tunnel.
func quiet(t *testing.T, mk rig.Maker) {
	m := newMulti(t, echoing, 0, nil)
	o := rig.Options(with(m))
	o.Timeouts.Body, o.Timeouts.Response, o.Timeouts.Grace, o.Timeouts.Tunnel = 500*time.Millisecond, 500*time.Millisecond, 500*time.Millisecond, 5*time.Second
	c, _ := rig.StartH2(t, mk, o, rig.H2Settings{})
	s := c.Open(false, "POST /", "content-type: application/grpc")
	s.Send([]byte("one"), false)
	s.Until("it comes back", func(a *rig.H2Answer) bool { return a.Body == "one" })
	time.Sleep(time.Second) // the silence that the test is about: twice the time of a body and of an answer
	s.Send([]byte("two"), false)
	s.Until("it comes back", func(a *rig.H2Answer) bool { return a.Body == "onetwo" })
	if got := s.Over(); got.Reset == "" {
		t.Errorf("%+v", got)
	}
}

func silentOrigin(t *testing.T, mk rig.Maker) {
	begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	m := newMulti(t, waiting(begun, ended), 0, nil)
	o := rig.Options(with(m))
	o.Timeouts.Response = 100 * time.Millisecond
	addr, _ := rig.Start(t, mk, o)
	if got := rig.Exchange(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 504 ") {
		t.Errorf("%q", got)
	}
	within(t, "its end", ended)
}
