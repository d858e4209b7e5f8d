package proxy_test

import (
	"bytes"
	"io"
	"net/netip"
	"testing"

	"portico/proxy/accesslog"
	"portico/proxy/exchange"
	"portico/proxy/wire"
)

// bench drives an exchange in memory, as a driver would: what the core and the data path cost without system calls.
type bench struct {
	x       exchange.Exchange
	conf    exchange.Config
	free    [3][][]byte
	request []byte
	answer  []byte
	got     []byte // of the last answer
	now     int64
}

var wireSizes = [3]int{8 << 10, 32 << 10, 64 << 10}

func (w *bench) Get(size int) []byte {
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

func (w *bench) Put(b []byte) {
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
func (w *bench) round() {
	w.now += 20_000
	x := &w.x
	x.Begin(&w.conf, w, wirePeer, wireLocal, false, "", 0, w.now)
	x.Allow(exchange.ReadClient)
	x.Now(w.now)
	w.got = w.got[:0]
	for came := false; ; {
		switch op := x.Next(); op {
		case exchange.OpReadClient:
			n := copy(x.Space(exchange.Client), w.request)
			x.Read(exchange.Client, n, wire.Blocked)
		case exchange.OpConnect:
			x.Connected(true, 0)
		case exchange.OpWriteUpstream:
			a, b := x.Pending(exchange.Up)
			x.Wrote(exchange.Up, len(a)+len(b), wire.More)
		case exchange.OpReadUpstream:
			n := copy(x.Space(exchange.Up), w.answer)
			x.Read(exchange.Up, n, wire.Blocked)
		case exchange.OpWriteClient:
			a, b := x.Pending(exchange.Client)
			w.got = append(append(w.got, a...), b...)
			x.Wrote(exchange.Client, len(a)+len(b), wire.More)
		case exchange.OpReleaseUpstream:
		case exchange.OpIdle:
			x.Release()
			return
		default:
			if op != exchange.OpWait || came {
				panic(op)
			}
			_ = x.Deadline()
			came = true
			w.now += 100_000
			x.Now(w.now)
			x.Allow(exchange.ReadUpstream)
		}
	}
}

func newBench(tb testing.TB, sticky bool) *bench {
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
	w := &bench{conf: exchange.Config{Handler: f.EngineHandler()}.WithDefaults()}
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
			w := newBench(b, sticky)
			b.ReportAllocs()
			for b.Loop() {
				w.round()
			}
		})
	}
}
