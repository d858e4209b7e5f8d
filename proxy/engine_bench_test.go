package proxy_test

import (
	"bytes"
	"io"
	"net/netip"
	"testing"

	"portico/proxy/accesslog"
	"portico/proxy/http1"
)

// wire drives an exchange in memory, as a driver would: what the core and the data path cost without system calls.
type wire struct {
	x       http1.Exchange
	conf    http1.Config
	free    [3][][]byte
	request []byte
	answer  []byte
	got     []byte // of the last answer
	now     int64
}

var wireSizes = [3]int{8 << 10, 32 << 10, 64 << 10}

func (w *wire) Get(size int) []byte {
	for i, s := range wireSizes {
		if size > s {
			continue
		}
		if n := len(w.free[i]); n > 0 {
			b := w.free[i][n-1]
			w.free[i] = w.free[i][:n-1]
			return b
		}
		return make([]byte, s)
	}
	return make([]byte, size)
}

func (w *wire) Put(b []byte) {
	for i, s := range wireSizes {
		if cap(b) == s {
			w.free[i] = append(w.free[i], b[:s])
		}
	}
}

var (
	wirePeer  = netip.MustParseAddrPort("127.0.0.1:40404")
	wireLocal = netip.MustParseAddrPort("127.0.0.1:80")
)

// round is one request and its answer over a kept connection.
func (w *wire) round() {
	w.now += 20_000
	x := &w.x
	x.Begin(&w.conf, w, wirePeer, wireLocal, false, "", 0, w.now)
	x.Allow(http1.ReadClient)
	x.Now(w.now)
	w.got = w.got[:0]
	for came := false; ; {
		switch op := x.Next(); op {
		case http1.OpReadClient:
			n := copy(x.Space(http1.Client), w.request)
			x.Read(http1.Client, n, http1.Blocked)
		case http1.OpConnect:
			x.Connected(true, 0)
		case http1.OpWriteUpstream:
			a, b := x.Pending(http1.Up)
			x.Wrote(http1.Up, len(a)+len(b), http1.More)
		case http1.OpReadUpstream:
			n := copy(x.Space(http1.Up), w.answer)
			x.Read(http1.Up, n, http1.Blocked)
		case http1.OpWriteClient:
			a, b := x.Pending(http1.Client)
			w.got = append(append(w.got, a...), b...)
			x.Wrote(http1.Client, len(a)+len(b), http1.More)
		case http1.OpReleaseUpstream:
		case http1.OpIdle:
			x.Release()
			return
		default:
			if op != http1.OpWait || came {
				panic(op)
			}
			_ = x.Deadline()
			came = true
			w.now += 100_000
			x.Now(w.now)
			x.Allow(http1.ReadUpstream)
		}
	}
}

func newWire(tb testing.TB, sticky bool) *wire {
	o := options()
	l, err := accesslog.New(accesslog.JSON, "-", io.Discard)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	o.AccessLog, o.Conf.Recent = l, 1000
	st := site(quietOrigin(tb, 0))
	if !sticky {
		st.Session.Sticky = "none"
	}
	f := start(tb, o, st)
	w := &wire{conf: http1.Config{Handler: f.EngineHandler()}.WithDefaults()}
	w.answer = append([]byte("HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 128\r\n\r\n"), bytes.Repeat([]byte("x"), 128)...)
	head := "GET /s HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\n"
	w.request = []byte(head + "\r\n")
	w.round()
	if sticky {
		_, rest, ok := bytes.Cut(w.got, []byte("Set-Cookie: "))
		if !ok {
			tb.Fatalf("no cookie in %q", w.got)
		}
		cookie, _, _ := bytes.Cut(rest, []byte(";"))
		w.request = []byte(head + "Cookie: " + string(cookie) + "\r\n\r\n")
	}
	w.round()
	if !bytes.HasPrefix(w.got, []byte("HTTP/1.1 200 OK\r\n")) || bytes.Contains(w.got, []byte("Set-Cookie")) {
		tb.Fatalf("%q", w.got)
	}
	return w
}

// BenchmarkEngine is the user time of a kept-alive request, everything on, without the system calls.
func BenchmarkEngine(b *testing.B) {
	for _, sticky := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "sticky"}[sticky], func(b *testing.B) {
			w := newWire(b, sticky)
			b.ReportAllocs()
			for b.Loop() {
				w.round()
			}
		})
	}
}
