package http2

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/proxy/wire"
)

// call is a request to an origin and what came of it.
type call struct {
	head, body string // the head ends with its empty line
	trailers   string
	slow       bool // its answer is not read
	giveUp     bool // after the first bytes of it

	st      *Stream
	sent    int
	closed  bool // the request
	got     []byte
	trail   string
	whole   bool
	refused bool
	over    bool
}

// caller makes calls over one connection.
type caller struct {
	t     testing.TB
	c     Conn
	mem   lender
	nc    net.Conn
	piece [16 << 10]byte
}

func newCaller(t testing.TB, nc net.Conn) *caller {
	c := &caller{t: t, nc: nc}
	c.c.Dial(defaults(), &c.mem, time.Minute, time.Now().UnixNano())
	return c
}

// origin is a server of Go's at the other end of a connection.
func goOrigin(t testing.TB, h http.HandlerFunc, conf http2.Server) *caller {
	ours, theirs := pair2(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conf.ServeConn(theirs, &http2.ServeConnOpts{Handler: h})
	}()
	t.Cleanup(func() { _ = ours.Close(); <-done })
	return newCaller(t, ours)
}

func pair2(t testing.TB) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if b, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if a, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// run makes the calls, as many at once as there is room for, until those that are waited for have ended.
func (c *caller) run(calls ...*call) {
	c.t.Helper()
	_ = c.nc.SetDeadline(time.Now().Add(time.Minute))
	waiting := calls
	for {
		c.c.Now(time.Now().UnixNano())
		c.act()
		for len(waiting) > 0 {
			st := c.c.Open()
			if st == nil {
				break
			}
			w := waiting[0]
			waiting = waiting[1:]
			w.st, st.User = st, w
			c.pump(w)
		}
		c.act()
		c.flush()
		left := len(waiting)
		for _, w := range calls {
			if !w.over && !w.slow {
				left++
			}
		}
		if left == 0 || c.c.Over() {
			return
		}
		n, err := c.nc.Read(c.c.Space())
		if err != nil {
			c.c.Read(0, wire.Failed)
			c.act()
			return
		}
		c.c.Read(n, wire.More)
	}
}

func (c *caller) act() {
	for e := c.c.Next(); e.Kind != EventNone; e = c.c.Next() {
		c.pump(e.Stream.User.(*call))
	}
}

func (c *caller) flush() {
	for p := c.c.Pending(); len(p) > 0; p = c.c.Pending() {
		n, err := c.nc.Write(p)
		res := wire.More
		if err != nil {
			res = wire.Failed
		}
		c.c.Wrote(n, res)
		c.act()
	}
}

func (c *caller) pump(w *call) {
	for !w.over && (c.write(w) || c.read(w)) {
	}
}

// write reports whether something went.
func (c *caller) write(w *call) bool {
	if w.closed {
		return false
	}
	all := w.head + w.body
	rest := all[w.sent:]
	if len(rest) == 0 && w.trailers != "" {
		w.st.End([]byte(w.trailers))
		w.closed = true
		return true
	}
	n, res := w.st.Write([]byte(rest), nil, w.trailers == "")
	w.sent += n
	switch res {
	case wire.Failed:
		w.closed = true
	case wire.More:
		w.closed = w.trailers == ""
		return true
	}
	return n > 0
}

// read reports whether something came.
func (c *caller) read(w *call) bool {
	if w.slow {
		return false
	}
	n, res := w.st.Read(c.piece[:])
	w.got = append(w.got, c.piece[:n]...)
	switch {
	case res == wire.EOF:
		w.whole, w.trail = true, string(w.st.Trailers())
	case res == wire.Failed:
		w.refused = w.st.Refused()
	case w.giveUp && n > 0:
	default:
		return n > 0
	}
	w.over = true
	w.st.Finish()
	return false
}

// end ends what is left and checks that nothing stays borrowed.
func (c *caller) end(calls ...*call) {
	c.t.Helper()
	for _, w := range calls {
		if !w.over && w.st != nil {
			w.over = true
			w.st.Finish()
		}
	}
	c.c.Release()
	if n := c.c.Streams(); n != 0 || c.mem.lent != 0 {
		c.t.Errorf("%d streams and %d bytes are left", n, c.mem.lent)
	}
}

// answer reads what a call has got as HTTP/1.
func (w *call) answer(t testing.TB) (*http.Response, string) {
	t.Helper()
	method, _, _ := strings.Cut(w.head, " ")
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(w.got)), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", w.got, err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("%q: %v", w.head, err)
	}
	return r, string(b)
}

func get(path string) *call {
	return &call{head: "GET " + path + " HTTP/1.1\r\nHost: shop.test\r\nX-Mine: 1\r\nTE: trailers\r\n\r\n"}
}

func post(path, body string) *call {
	return &call{head: "POST " + path + " HTTP/1.1\r\nHost: shop.test\r\n\r\n", body: body}
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/echo":
		_, _ = io.Copy(w, r.Body)
	case "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n))
		w.Header().Set(http.TrailerPrefix+"X-Seen", r.Trailer.Get("X-Check"))
	case "/hints":
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "late")
	case "/reset":
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "/early":
		_, _ = io.WriteString(w, "no need for that")
	default:
		fmt.Fprintf(w, "%s %s %s %s %s %s", r.Method, r.URL, r.Host, r.Header.Get("X-Mine"), r.Header.Get("Te"), r.Proto)
	}
}

func TestOriginAnswers(t *testing.T) {
	c := goOrigin(t, echo, http2.Server{})
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
	c := goOrigin(t, echo, http2.Server{MaxConcurrentStreams: 3})
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
	c := goOrigin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(big) }, http2.Server{MaxConcurrentStreams: 250})
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
		var e encoder
		e.begin()
		for i := 0; i < len(fields); i += 2 {
			b = e.literal(b, 0, 4, 0, []byte(fields[i]), []byte(fields[i+1]))
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

func headers(fr *http2.Framer, id uint32, end bool, block []byte) {
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: end})
}

func hpackDecoder() *hpack.Decoder { return hpack.NewDecoder(tableMost, nil) }
