package http2

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	nethpack "golang.org/x/net/http2/hpack"

	"portico/proxy/http2/hpack"
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

// goOrigin is a server of Go's at the other end of a connection, which takes so many streams at a time (0: as many as Go does).
func goOrigin(t testing.TB, h http.HandlerFunc, streams int) *caller {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: streams}}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), server.Close(); <-done })
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

func headers(fr *http2.Framer, id uint32, end bool, block []byte) {
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: end})
}

func hpackDecoder() *nethpack.Decoder { return nethpack.NewDecoder(hpack.TableMost, nil) }
