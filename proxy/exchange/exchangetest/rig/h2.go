package rig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/proxy/exchange"
)

// H2 is an HTTP/2 client that sends what it is told to, sound or not. Goroutines of its own take what comes and acknowledge it, so that
// a server that does not read has its answers read all the same.
type H2 struct {
	t    testing.TB
	conn net.Conn

	out   sync.Mutex // before mu
	fr    *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	next  uint32

	mu      sync.Mutex
	turn    sync.Cond
	owed    []func(*http2.Framer) error // what is to be acknowledged
	streams map[uint32]*H2Stream
	room    int // of the connection's window towards the server
	first   int // of a new stream's
	keeps   bool
	away    *http2.GoAwayFrame
	err     error // why nothing more comes
}

// H2Stream is one request of an [H2], and what has come for it.
type H2Stream struct {
	c    *H2
	id   uint32
	room int
	got  H2Answer
}

// H2Answer is what has come on a stream.
type H2Answer struct {
	Interim  []string // their fields, as Head
	Head     string   // of the final answer: "name: value" lines in order, the status first
	Body     string
	Trailers string // as Head
	Ended    bool   // with END_STREAM
	Reset    string // the code of a RST_STREAM, "" without
}

// Status is the final answer's, "" before it has come.
func (a *H2Answer) Status() string {
	first, _, _ := strings.Cut(a.Head, "\n")
	return strings.TrimPrefix(first, ":status: ")
}

// H2Settings of a client that are not those of most.
type H2Settings struct {
	Window uint32 // of each stream, 0: 1 GiB
	Keeps  bool   // gives no window back by itself
}

// DialH2 opens a connection to a driver that Start has started with H2Listener.
func DialH2(t testing.TB, addr string, pool *x509.CertPool, set H2Settings) *H2 {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, H2Config(pool))
	if err != nil {
		t.Fatal(err)
	}
	return NewH2(t, conn, set)
}

// H2Config is for a client that speaks HTTP/2 over TLS.
func H2Config(pool *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: pool, ServerName: "a", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
}

// NewH2 is DialH2 for a connection that is there.
func NewH2(t testing.TB, conn net.Conn, set H2Settings) *H2 {
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c := &H2{t: t, conn: conn, fr: http2.NewFramer(conn, conn), next: 1, streams: map[uint32]*H2Stream{}, room: 65535, first: 65535, keeps: set.Keeps}
	c.turn.L, c.enc = &c.mu, hpack.NewEncoder(&c.block)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if set.Window == 0 {
		set.Window = 1 << 30
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: set.Window})
	if !set.Keeps {
		_ = c.fr.WriteWindowUpdate(0, 1<<30)
	}
	go c.read()
	go c.acknowledge()
	return c
}

// H2Listener is a listener that offers HTTP/2, for the name "a", and the pool that trusts it.
func H2Listener(t *testing.T) (exchange.Listener, *x509.CertPool) {
	t.Helper()
	cert, pool := Certificate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return exchange.Listener{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}}, pool
}

// Open begins a stream: "name: value" for each field, pseudo-fields first. A name with a method's form alone is a request for "a":
// "GET /path".
func (c *H2) Open(end bool, fields ...string) *H2Stream {
	if method, path, ok := strings.Cut(fields[0], " "); ok && !strings.HasPrefix(fields[0], ":") {
		fields = append([]string{":method: " + method, ":scheme: https", ":authority: a", ":path: " + path}, fields[1:]...)
	}
	c.out.Lock()
	defer c.out.Unlock()
	s := &H2Stream{c: c, id: c.next}
	c.next += 2
	c.mu.Lock()
	s.room = c.first
	c.streams[s.id] = s
	c.mu.Unlock()
	c.headers(s.id, end, fields)
	return s
}

// headers writes a block of fields. The caller holds out.
func (c *H2) headers(id uint32, end bool, fields []string) {
	c.block.Reset()
	for _, f := range fields {
		i := strings.Index(f[1:], ": ") + 1
		_ = c.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: f[i+2:]})
	}
	first := c.block.Next(16 << 10)
	_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: c.block.Len() == 0})
	for c.block.Len() > 0 {
		last := c.block.Len() <= 16<<10
		_ = c.fr.WriteContinuation(id, last, c.block.Next(16<<10))
	}
}

// Write sends frames of a test's own.
func (c *H2) Write(f func(*http2.Framer) error) {
	c.out.Lock()
	defer c.out.Unlock()
	_ = f(c.fr)
}

// Close ends the connection without a word.
func (c *H2) Close() { _ = c.conn.Close() }

// Away is the GOAWAY that has come, nil without one, and why nothing more comes.
func (c *H2) Away() (*http2.GoAwayFrame, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away, c.err
}

// Until waits for something to be so of what has come on the connection.
func (c *H2) Until(what string, cond func(away *http2.GoAwayFrame, err error) bool) {
	c.t.Helper()
	c.wait(what, func() bool { return cond(c.away, c.err) })
}

func (c *H2) wait(what string, cond func() bool) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !cond() {
		if c.err != nil {
			c.t.Errorf("%s: never, the connection has ended: %v", what, c.err)
			return
		}
		c.turn.Wait()
	}
}

// Send sends bytes of the body within the windows that the server gives; end: and its end.
func (s *H2Stream) Send(b []byte, end bool) {
	for len(b) > 0 || end {
		n, ok := s.take(len(b))
		if !ok {
			return
		}
		last := end && n == len(b)
		s.c.Write(func(f *http2.Framer) error { return f.WriteData(s.id, last, b[:n]) })
		if b = b[n:]; last {
			return
		}
	}
}

// take waits for room for some of so many bytes, and takes it; false: nobody wants them any more.
func (s *H2Stream) take(want int) (int, bool) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for want > 0 && min(s.room, c.room) <= 0 && c.err == nil && s.got.Reset == "" {
		c.turn.Wait()
	}
	n := min(want, s.room, c.room, 16<<10)
	if want == 0 {
		n = 0
	}
	s.room, c.room = s.room-n, c.room-n
	return n, c.err == nil && s.got.Reset == ""
}

// Trailers end the body with fields.
func (s *H2Stream) Trailers(fields ...string) {
	s.c.out.Lock()
	defer s.c.out.Unlock()
	s.c.headers(s.id, true, fields)
}

// Cancel resets the stream.
func (s *H2Stream) Cancel() {
	s.c.Write(func(f *http2.Framer) error { return f.WriteRSTStream(s.id, http2.ErrCodeCancel) })
}

// Room gives the server so much more of a window for this stream, and of the connection's.
func (s *H2Stream) Room(n uint32) {
	s.c.Write(func(f *http2.Framer) error {
		_ = f.WriteWindowUpdate(0, n)
		return f.WriteWindowUpdate(s.id, n)
	})
}

// Until waits for something to be so of what has come on the stream, and returns all of that.
func (s *H2Stream) Until(what string, cond func(*H2Answer) bool) H2Answer {
	s.c.t.Helper()
	s.c.wait(what, func() bool { return cond(&s.got) })
	return s.Got()
}

// Got is what has come until now.
func (s *H2Stream) Got() H2Answer {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	got := s.got
	got.Interim = slices.Clone(got.Interim)
	return got
}

// Over waits for the end of the stream, however it comes.
func (s *H2Stream) Over() H2Answer {
	s.c.t.Helper()
	return s.Until("the stream ends", func(a *H2Answer) bool { return a.Ended || a.Reset != "" })
}

// After waits for the end of the stream or of the connection, and says what had come by then.
func (s *H2Stream) After() H2Answer {
	s.c.mu.Lock()
	for !s.got.Ended && s.got.Reset == "" && s.c.err == nil {
		s.c.turn.Wait()
	}
	s.c.mu.Unlock()
	return s.Got()
}

// read takes what comes until the connection ends.
func (c *H2) read() {
	for {
		f, err := c.fr.ReadFrame()
		c.mu.Lock()
		if err != nil {
			c.err = err
		} else {
			c.took(f)
		}
		c.turn.Broadcast()
		c.mu.Unlock()
		if err != nil {
			_ = c.conn.Close() // as everybody does: a server reads on until then
			return
		}
	}
}

// owe has something written, by somebody who may wait.
func (c *H2) owe(f func(*http2.Framer) error) { c.owed = append(c.owed, f) }

// acknowledge writes what is owed until the connection ends.
func (c *H2) acknowledge() {
	for {
		c.mu.Lock()
		for len(c.owed) == 0 && c.err == nil {
			c.turn.Wait()
		}
		owed, err := c.owed, c.err
		c.owed = nil
		c.mu.Unlock()
		if err != nil {
			return
		}
		for _, f := range owed {
			c.Write(f)
		}
	}
}

// took is called with mu held.
func (c *H2) took(f http2.Frame) {
	s := c.streams[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			data := f.Data
			c.owe(func(fr *http2.Framer) error { return fr.WritePing(true, data) })
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.room += int(f.Increment)
		} else if s != nil {
			s.room += int(f.Increment)
		}
	case *http2.GoAwayFrame:
		away := *f
		c.away = &away
	case *http2.RSTStreamFrame:
		if s != nil {
			s.got.Reset = f.ErrCode.String()
		}
	case *http2.MetaHeadersFrame:
		if s != nil {
			s.got.head(f)
		}
	case *http2.DataFrame:
		c.data(s, f)
	}
}

func (c *H2) settings(f *http2.SettingsFrame) {
	if f.IsAck() {
		return
	}
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		for _, s := range c.streams {
			s.room += int(v) - c.first
		}
		c.first = int(v)
	}
	c.owe((*http2.Framer).WriteSettingsAck)
}

func (c *H2) data(s *H2Stream, f *http2.DataFrame) {
	if n := f.Header().Length; n > 0 && !c.keeps {
		c.owe(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, n) })
	}
	if s == nil {
		return
	}
	s.got.Body += string(f.Data())
	s.got.Ended = s.got.Ended || f.StreamEnded()
}

func (a *H2Answer) head(f *http2.MetaHeadersFrame) {
	var b strings.Builder
	for _, h := range f.Fields {
		fmt.Fprintf(&b, "%s: %s\n", h.Name, h.Value)
	}
	switch status := f.PseudoValue("status"); {
	case status == "":
		a.Trailers = b.String()
	case status[0] == '1':
		a.Interim = append(a.Interim, b.String())
	default:
		a.Head = b.String()
	}
	a.Ended = a.Ended || f.StreamEnded()
}

// StartH2 runs a driver whose one listener offers HTTP/2, and connects to it.
func StartH2(t *testing.T, mk Maker, o exchange.Options, set H2Settings) (*H2, exchange.Driver) {
	t.Helper()
	ln, pool := H2Listener(t)
	o.Listeners = []exchange.Listener{ln}
	addr, d := Start(t, mk, o)
	return DialH2(t, addr, pool, set), d
}
