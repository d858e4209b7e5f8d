package http2

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"portico/proxy/http2/hpack"
)

func TestOriginAnswers(t *testing.T) {
	c := goOrigin(t, echo, 0)
	big := strings.Repeat("0123456789abcdef", 1<<16)
	plain, head, up, hints, cut, early := get("/a?b=c"), get("/x"), post("/echo", big), get("/hints"), get("/reset"), post("/early", strings.Repeat("u", 4<<20))
	head.head = strings.Replace(head.head, "GET", "HEAD", 1)
	both := post("/trailers", "abc")
	both.head, both.trailers = strings.Replace(both.head, "\r\n\r\n", "\r\nTrailer: X-Check\r\n\r\n", 1), "X-Check: 7\r\n\r\n"
	all := []*call{plain, head, up, hints, cut, early, both}
	c.run(all...)
	if r, b := plain.answer(t); b != "GET /a?b=c shop.test 1 trailers HTTP/2.0" || r.StatusCode != 200 {
		t.Errorf("%q", b)
	}
	if r, b := head.answer(t); b != "" || r.ContentLength <= 0 || !head.whole {
		t.Errorf("HEAD: %q, %d", b, r.ContentLength)
	}
	if _, b := up.answer(t); b != big || !up.whole {
		t.Errorf("%d bytes came back", len(b))
	}
	if s := string(hints.got); !strings.HasPrefix(s, "HTTP/1.1 103 \r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 \r\n") || !strings.HasSuffix(s, "\r\n\r\nlate") {
		t.Errorf("%q", s)
	}
	if cut.whole || cut.refused || !strings.HasSuffix(string(cut.got), "half") {
		t.Errorf("a reset looks like an end: %q", cut.got)
	}
	if _, b := early.answer(t); !early.whole || b != "no need for that" {
		t.Errorf("%q", b)
	}
	if _, b := both.answer(t); b != "abc" || !strings.Contains(both.trail, "x-sum: 3\r\n") || !strings.Contains(both.trail, "x-seen: 7\r\n") {
		t.Errorf("%q, trailers %q", b, both.trail)
	}
	c.end(all...)
}

// TestOriginStreams: no more streams are opened than the origin takes, and each gets what is its own.
func TestOriginStreams(t *testing.T) {
	c := goOrigin(t, echo, 3)
	var all []*call
	for i := range 50 {
		all = append(all, post("/echo", strings.Repeat(fmt.Sprint(i%10), 1000*i)))
	}
	c.run(all...)
	for i, w := range all {
		if _, b := w.answer(t); b != w.body || w.refused {
			t.Errorf("call %d: %d bytes of %d", i, len(b), len(w.body))
		}
	}
	c.end(all...)
}

// TestOriginStalls: answers that nobody takes hold no other back, however many they are, and no more is kept of each than its window.
func TestOriginStalls(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 4<<20)
	c := goOrigin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(big) }, 250)
	var slow []*call
	for range 60 {
		w := get("/slow")
		w.slow = true
		slow = append(slow, w)
	}
	c.run(slow...)
	last := get("/last")
	c.run(last)
	if _, b := last.answer(t); len(b) != len(big) {
		t.Errorf("%d bytes", len(b))
	}
	if most := 60*(windowUsual+nextChunk+firstChunk) + 1<<20; c.mem.most > most {
		t.Errorf("%d bytes were kept", c.mem.most)
	}
	c.end(slow...)
}

// TestOriginLeaves: what an origin has not looked at when it goes may be asked again, what it has begun is finished.
func TestOriginLeaves(t *testing.T) {
	ours, theirs := pair2(t)
	defer theirs.Close()
	c := newCaller(t, ours)
	first, second := get("/1"), get("/2")
	go func() {
		fr := http2.NewFramer(theirs, theirs)
		_, _ = io.ReadFull(theirs, make([]byte, len(preface)))
		_ = fr.WriteSettings()
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := f.(*http2.HeadersFrame); ok && h.StreamID == 3 {
				_ = fr.WriteGoAway(1, http2.ErrCodeNo, nil)
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x80 | 8}, EndHeaders: true})
				_ = fr.WriteData(1, true, []byte("done"))
			}
		}
	}()
	c.run(first, second)
	if !second.refused || second.whole {
		t.Error("the second could not be asked again")
	}
	if _, b := first.answer(t); b != "done" || !first.whole {
		t.Errorf("%q", b)
	}
	if c.c.Open() != nil || !c.c.Over() {
		t.Error("the connection goes on")
	}
	c.end(first, second)
}

// TestOriginTunnels: a request to switch becomes an extended CONNECT, and its success a switch, with the proof that a client of HTTP/1
// waits for.
func TestOriginTunnels(t *testing.T) {
	ours, theirs := pair2(t)
	defer theirs.Close()
	c := newCaller(t, ours)
	asked := make(chan []textproto.MIMEHeader, 1)
	go func() {
		fr := http2.NewFramer(theirs, theirs)
		fr.ReadMetaHeaders = hpackDecoder()
		_, _ = io.ReadFull(theirs, make([]byte, len(preface)))
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := f.(*http2.MetaHeadersFrame); ok {
				m := textproto.MIMEHeader{}
				for _, f := range h.Fields {
					m[f.Name] = append(m[f.Name], f.Value)
				}
				asked <- []textproto.MIMEHeader{m}
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: []byte{0x80 | 8}, EndHeaders: true})
				_ = fr.WriteData(h.StreamID, true, []byte("frames"))
			}
		}
	}()
	w := &call{head: "GET /chat HTTP/1.1\r\nHost: a.test\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", body: "hello"}
	c.run(w)
	if !c.c.Tunnels() {
		t.Error("the origin's offer was not heard")
	}
	m := (<-asked)[0]
	for name, want := range map[string]string{":method": "CONNECT", ":protocol": "websocket", ":path": "/chat", ":scheme": "http", ":authority": "a.test", "sec-websocket-version": "13"} {
		if got := strings.Join(m[name], ","); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"connection", "upgrade", "sec-websocket-key", "host"} {
		if m[name] != nil {
			t.Errorf("%s was sent", name)
		}
	}
	if want := "HTTP/1.1 101 \r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nframes"; string(w.got) != want {
		t.Errorf("%q", w.got)
	}
	c.end(w)
}

// TestOriginMalformed: an answer that is none ends its stream and no other, and what breaks the connection's state ends all.
func TestOriginMalformed(t *testing.T) {
	block := func(fields ...string) []byte {
		var b []byte
		var e hpack.Encoder
		e.Reset()
		for i := 0; i < len(fields); i += 2 {
			b = e.Plain(b, 0, []byte(fields[i]), []byte(fields[i+1]))
		}
		return b
	}
	for name, test := range map[string]struct {
		say  func(fr *http2.Framer, id uint32)
		dies bool
	}{
		"no status":      {say: func(fr *http2.Framer, id uint32) { headers(fr, id, true, block("a", "b")) }},
		"two":            {say: func(fr *http2.Framer, id uint32) { headers(fr, id, true, block(":status", "200", ":status", "200")) }},
		"late status":    {say: func(fr *http2.Framer, id uint32) { headers(fr, id, true, block("a", "b", ":status", "200")) }},
		"101":            {say: func(fr *http2.Framer, id uint32) { headers(fr, id, false, block(":status", "101")) }},
		"status of four": {say: func(fr *http2.Framer, id uint32) { headers(fr, id, true, block(":status", "2000")) }},
		"a request's":    {say: func(fr *http2.Framer, id uint32) { headers(fr, id, true, block(":status", "200", ":path", "/")) }},
		"connection": {say: func(fr *http2.Framer, id uint32) {
			headers(fr, id, true, block(":status", "200", "connection", "close"))
		}},
		"coding": {say: func(fr *http2.Framer, id uint32) {
			headers(fr, id, true, block(":status", "200", "transfer-encoding", "chunked"))
		}},
		"split":        {say: func(fr *http2.Framer, id uint32) { headers(fr, id, true, block(":status", "200", "a", "b\r\nc: d")) }},
		"interim ends": {say: func(fr *http2.Framer, id uint32) { headers(fr, id, true, block(":status", "103")) }},
		"too short": {say: func(fr *http2.Framer, id uint32) {
			headers(fr, id, false, block(":status", "200", "content-length", "9"))
			_ = fr.WriteData(id, true, []byte("abc"))
		}},
		"too long": {say: func(fr *http2.Framer, id uint32) {
			headers(fr, id, false, block(":status", "200", "content-length", "2"))
			_ = fr.WriteData(id, true, []byte("abc"))
		}},
		"data first": {say: func(fr *http2.Framer, id uint32) { _ = fr.WriteData(id, true, []byte("abc")) }},
		"trailers go on": {say: func(fr *http2.Framer, id uint32) {
			headers(fr, id, false, block(":status", "200"))
			headers(fr, id, false, block("a", "b"))
		}},
		"trailing status": {say: func(fr *http2.Framer, id uint32) {
			headers(fr, id, false, block(":status", "200"))
			headers(fr, id, true, block(":status", "200"))
		}},
		"reset": {say: func(fr *http2.Framer, id uint32) { _ = fr.WriteRSTStream(id, http2.ErrCodeInternal) }},
		"reset for no end": {say: func(fr *http2.Framer, id uint32) {
			headers(fr, id, false, block(":status", "200"))
			_ = fr.WriteRSTStream(id, http2.ErrCodeNo)
		}},
		"no HPACK":    {dies: true, say: func(fr *http2.Framer, id uint32) { headers(fr, id, true, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) }},
		"idle stream": {dies: true, say: func(fr *http2.Framer, id uint32) { headers(fr, 99, true, block(":status", "200")) }},
		"a push": {dies: true, say: func(fr *http2.Framer, id uint32) {
			_ = fr.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, EndHeaders: true})
		}},
		"pushes allowed": {dies: true, say: func(fr *http2.Framer, id uint32) {
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1})
		}},
		"its own stream": {dies: true, say: func(fr *http2.Framer, id uint32) { headers(fr, 2, true, block(":status", "200")) }},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := pair2(t)
			defer theirs.Close()
			c := newCaller(t, ours)
			go func() {
				fr := http2.NewFramer(theirs, theirs)
				fr.AllowIllegalWrites = true
				_, _ = io.ReadFull(theirs, make([]byte, len(preface)))
				_ = fr.WriteSettings()
				for {
					f, err := fr.ReadFrame()
					if err != nil {
						return
					}
					if h, ok := f.(*http2.HeadersFrame); ok {
						if h.StreamID == 1 {
							test.say(fr, 1)
						} else {
							headers(fr, h.StreamID, true, block(":status", "204"))
						}
					}
				}
			}()
			bad, good := get("/1"), get("/2")
			c.run(bad, good)
			if bad.whole {
				t.Errorf("%q came through", bad.got)
			}
			if good.whole == test.dies || c.c.Over() != test.dies {
				t.Errorf("the other one came through: %v; the connection is over: %v", good.whole, c.c.Over())
			}
			c.end(bad, good)
		})
	}
}
