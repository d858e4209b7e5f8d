package http2

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"portico/proxy/wire"
)

// browser is what a browser says in a request, but for the path.
var browser = [][2]string{
	{":method", "GET"}, {":authority", "shop.test"}, {":scheme", "https"}, {":path", "/"},
	{"sec-ch-ua", `"Chromium";v="140", "Not=A?Brand";v="24"`}, {"sec-ch-ua-mobile", "?0"}, {"sec-ch-ua-platform", `"Linux"`},
	{"upgrade-insecure-requests", "1"},
	{"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"},
	{"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"},
	{"sec-fetch-site", "none"}, {"sec-fetch-mode", "navigate"}, {"sec-fetch-dest", "document"},
	{"accept-encoding", "gzip, deflate, br, zstd"}, {"accept-language", "en-US,en;q=0.9"},
	{"cookie", "session=0123456789abcdef0123456789abcdef"}, {"cookie", "theme=dark"}, {"priority", "u=0, i"},
}

// script writes what a client says, byte by byte as RFC 9113 has it.
type script struct {
	bytes.Buffer
	enc   *hpack.Encoder
	block bytes.Buffer
}

func newScript() *script {
	w := &script{}
	w.enc = hpack.NewEncoder(&w.block)
	return w
}

func (w *script) frame(kind, flags byte, id uint32, payload ...byte) *script {
	w.Write(append(appendFrame(nil, len(payload), kind, flags, id), payload...))
	return w
}

// hello is the preface with empty SETTINGS and the answer to ours.
func (w *script) hello() *script {
	w.WriteString(preface)
	return w.frame(frameSettings, 0, 0).frame(frameSettings, flagAck, 0)
}

func (w *script) fields(fields [][2]string) []byte {
	w.block.Reset()
	for _, f := range fields {
		_ = w.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return bytes.Clone(w.block.Bytes())
}

func (w *script) headers(id uint32, end bool, fields [][2]string) *script {
	flags := byte(flagEndHeaders)
	if end {
		flags |= flagEnd
	}
	return w.frame(frameHeaders, flags, id, w.fields(fields)...)
}

// with returns fields with others added, or put in the place of those with the same name.
func with(fields [][2]string, more ...[2]string) [][2]string {
	out := append([][2]string(nil), fields...)
next:
	for _, m := range more {
		for i := range out {
			if out[i][0] == m[0] && m[0] != "cookie" {
				out[i] = m
				continue next
			}
		}
		out = append(out, m)
	}
	return out
}

func (w *script) take() []byte {
	b := bytes.Clone(w.Bytes())
	w.Reset()
	return b
}

// small serves requests with small answers, in memory and without anything of its own that costs.
type small struct {
	c    Conn
	mem  lender
	body [4096]byte
	got  int
}

var (
	smallFields = [][2][]byte{
		{[]byte("Server"), []byte("Apache")}, {[]byte("Content-Type"), []byte("text/html; charset=utf-8")}, {[]byte("Content-Length"), []byte("5")},
		{[]byte("Cache-Control"), []byte("no-cache, private")}, {[]byte("Vary"), []byte("Accept-Encoding")}, {[]byte("Date"), []byte("Mon, 30 Nov 2026 13:00:00 GMT")},
		{[]byte("Strict-Transport-Security"), []byte("max-age=31536000")}, {[]byte("Set-Cookie"), []byte("session=0123456789abcdef0123456789abcdef; Path=/; HttpOnly")},
	}
	smallBody = []byte("hello")
)

func (s *small) feed(b []byte) {
	for len(b) > 0 {
		n := copy(s.c.Space(), b)
		b = b[n:]
		s.c.Read(n, wire.More)
		for e := s.c.Next(); e.Kind != EventNone; e = s.c.Next() {
			s.act(e)
		}
		for p := s.c.Pending(); len(p) > 0; p = s.c.Pending() {
			s.c.Wrote(len(p), wire.More)
		}
	}
}

func (s *small) act(e Event) {
	st := e.Stream
	switch {
	case e.Kind == EventReset:
		st.Reset(wire.ResetCancel)
		return
	case e.Kind == EventOpen && st.Open():
		return
	case e.Kind == EventReadable:
		for {
			n, res := st.Read(s.body[:])
			s.got += n
			if res == wire.Blocked {
				return
			}
			if res == wire.EOF {
				break
			}
		}
	}
	st.Head(200)
	for _, f := range smallFields {
		st.Field(f[0], f[1])
	}
	st.EndHead(false)
	st.Write(smallBody, nil, true)
	st.Close()
}

// requests returns n rounds of bytes that each make a request on a stream of its own, from the first number on.
func requests(w *script, first uint32, n int, body []byte) (rounds [][]byte) {
	for i := range n {
		id := first + 2*uint32(i)
		if body == nil {
			w.headers(id, true, with(browser, [2]string{":path", "/page/" + string(rune('a'+i%26))}))
		} else {
			w.headers(id, false, with(browser, [2]string{":method", "POST"}))
			w.frame(frameData, flagEnd, id, body...)
		}
		rounds = append(rounds, w.take())
	}
	return rounds
}

// TestNothingIsAllocated: a connection that has warmed up serves requests, with and without a body, without allocating.
func TestNothingIsAllocated(t *testing.T) {
	for name, body := range map[string][]byte{"get": nil, "post": make([]byte, 9000)} {
		t.Run(name, func(t *testing.T) {
			s := &small{}
			s.c.Begin(defaults(), &s.mem, int64(time.Second))
			w := newScript()
			s.feed(w.hello().take())
			const rounds = 400
			all := requests(w, 1, rounds, body)
			for _, b := range all[:100] {
				s.feed(b)
			}
			next := 100
			if n := testing.AllocsPerRun(200, func() {
				s.feed(all[next])
				next++
			}); n != 0 {
				t.Errorf("%v allocations a request", n)
			}
			if s.got != next*len(body) || s.c.Streams() != 0 || s.c.Over() {
				t.Errorf("%d bytes came, %d streams are left", s.got, s.c.Streams())
			}
		})
	}
}

func benchmark(b *testing.B, body []byte) {
	s := &small{}
	w := newScript()
	const rounds = 1000
	hello := w.hello().take()
	all := requests(w, 1, rounds, body)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%rounds == 0 {
			s.c.Release()
			s.c.Begin(defaults(), &s.mem, int64(time.Second))
			s.feed(hello)
		}
		s.feed(all[i%rounds])
	}
}

func BenchmarkGet(b *testing.B)  { benchmark(b, nil) }
func BenchmarkPost(b *testing.B) { benchmark(b, make([]byte, 4096)) }
