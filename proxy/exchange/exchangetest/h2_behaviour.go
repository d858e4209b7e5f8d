package exchangetest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/exchange"
)

// h2Behaviours are what a driver does with streams of HTTP/2.
var h2Behaviours = map[string]func(*testing.T, New){
	"answers":         h2Answers,
	"bodies":          h2Bodies,
	"trailers":        h2Trailers,
	"interim":         h2Interim,
	"continue":        h2Continue,
	"early":           h2Early,
	"cut":             h2Cut,
	"client resets":   h2ClientResets,
	"client leaves":   h2ClientLeaves,
	"still streams":   h2StillStreams,
	"slow upload":     h2SlowUpload,
	"faint client":    h2FaintClient,
	"tunnel":          h2Tunnel,
	"tunnel refused":  h2TunnelRefused,
	"tunnel falsely":  h2TunnelFalsely,
	"retry":           h2Retry,
	"park":            h2Park,
	"silent origin":   h2SilentOrigin,
	"revoked":         h2Revoked,
	"drain":           h2Drain,
	"cut at the stop": h2Stop,
	"idle":            h2Idle,
	"private":         h2Private,
	"mixed":           h2Mixed,
	"both ways":       h2BothWays,
	"windows":         h2Windows,
	"limit":           h2Limit,
}

// RunH2 runs what only streams can show.
func RunH2(t *testing.T, mk New) {
	for name, f := range h2Behaviours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, mk)
		})
	}
}

// startH2 runs a driver whose one listener offers HTTP/2, and connects to it.
func startH2(t *testing.T, mk New, o exchange.Options, set H2Settings) (*H2, exchange.Driver) {
	t.Helper()
	ln, pool := H2Listener(t)
	o.Listeners = []exchange.Listener{ln}
	addr, d := Start(t, mk, o)
	return DialH2(t, addr, pool, set), d
}

const h2Hello = ":status: 200\ncontent-length: 5\n"

func isHello(a H2Answer) bool {
	return a.Head == h2Hello && a.Body == "hello" && a.Ended && a.Reset == ""
}

func h2Answers(t *testing.T, mk New) {
	answers := map[string][2]string{
		"/length": {hello, h2Hello + "|hello"},
		"/chunks": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", ":status: 200\n|hello"},
		"/close":  {"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello", ":status: 200\nserver: x\n|hello"},
		"/none":   {"HTTP/1.1 204 No\r\n\r\n", ":status: 204\n|"},
		"/same":   {"HTTP/1.1 304 No\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n", ":status: 304\netag: \"a\"\ncontent-length: 7\n|"},
		"/empty":  {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ":status: 200\ncontent-length: 0\n|"},
		"/fields": {"HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n", ":status: 200\nx-b: 2\ncontent-length: 0\n|"},
	}
	h := with(NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		path := strings.Fields(r)[1]
		_, _ = io.WriteString(c, answers[path][0])
		return path != "/close"
	}))
	c, _ := startH2(t, mk, options(h), H2Settings{})
	for path, a := range answers {
		got := c.Open(true, "GET "+path).Over()
		if s := got.Head + "|" + got.Body; s != a[1] || !got.Ended || got.Reset != "" {
			t.Errorf("%s: got %q %+v, want %q", path, s, got, a[1])
		}
	}
	if got := c.Open(true, "HEAD /length").Over(); got.Head != h2Hello || got.Body != "" || !got.Ended {
		t.Errorf("HEAD: %+v", got)
	}
	Eventually(t, "all are recorded", func() bool { return len(h.Records()) == len(answers)+1 })
}

// h2Bodies: with a length and without, in one frame, in many and with an end of its own.
func h2Bodies(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	c, _ := startH2(t, mk, options(with(o)), H2Settings{})
	big := strings.Repeat("0123456789", 50_000)
	for _, tt := range []struct {
		length string
		pieces []string
		want   string
	}{
		{"", []string{"hello", ""}, "5\r\nhello\r\n0\r\n\r\n"},
		{"5", []string{"hello"}, "hello"},
		{"5", []string{"he", "ll", "o", ""}, "hello"},
		{"500000", []string{big}, big},
		{"0", []string{""}, ""},
	} {
		fields := []string{"POST /"}
		if tt.length != "" {
			fields = append(fields, "content-length: "+tt.length)
		}
		s := c.Open(false, fields...)
		for i, p := range tt.pieces {
			s.Send([]byte(p), i == len(tt.pieces)-1)
		}
		got := s.Over()
		if got.Reset == "NO_ERROR" && tt.pieces[len(tt.pieces)-1] == "" { // the answer may come before an end that brings nothing
			got.Reset = ""
		}
		if !isHello(got) {
			t.Fatalf("length %q: got %+v", tt.length, got)
		}
		r := o.Requests()
		head, body, _ := strings.Cut(r[len(r)-1], "\r\n\r\n")
		if body != tt.want {
			t.Errorf("length %q: origin got %.100q after %q", tt.length, body, head)
		}
	}
	s := c.Open(false, "POST /", "content-length: 5") // more than it says
	s.Send([]byte("hello!"), true)
	if got := s.Over(); got.Reset != "PROTOCOL_ERROR" {
		t.Errorf("a body that is too long: %+v", got)
	}
	s = c.Open(false, "POST /", "content-length: 5") // less
	s.Send([]byte("hell"), true)
	if got := s.Over(); got.Reset != "PROTOCOL_ERROR" {
		t.Errorf("a body that is too short: %+v", got)
	}
}

func h2Trailers(t *testing.T, mk New) {
	o := NewOrigin(t, always("HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"))
	c, _ := startH2(t, mk, options(with(o)), H2Settings{})
	s := c.Open(false, "POST /", "te: trailers", "trailer: x-up")
	s.Send([]byte("hello"), false)
	s.Trailers("x-up: 1")
	got := s.Over()
	if got.Body != "hello" || got.Trailers != "x-sum: 7\n" || !got.Ended {
		t.Errorf("got %+v", got)
	}
	if r := o.Requests()[0]; !strings.HasSuffix(r, "\r\n\r\n5\r\nhello\r\n0\r\nx-up: 1\r\n\r\n") {
		t.Errorf("origin got %q", r)
	}
}

func h2Interim(t *testing.T, mk New) {
	c, _ := startH2(t, mk, options(with(NewOrigin(t, always("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+hello)))), H2Settings{})
	got := c.Open(true, "GET /").Over()
	if len(got.Interim) != 1 || got.Interim[0] != ":status: 103\nlink: </a>\n" || !isHello(got) {
		t.Errorf("got %+v", got)
	}
}

func h2Continue(t *testing.T, mk New) {
	o := NewOrigin(t, always(hello))
	c, _ := startH2(t, mk, options(with(o)), H2Settings{})
	s := c.Open(false, "POST /", "content-length: 5", "expect: 100-continue")
	s.Until("100 Continue comes", func(a *H2Answer) bool { return len(a.Interim) == 1 && a.Interim[0] == ":status: 100\n" })
	s.Send([]byte("hello"), true)
	if got := s.Over(); !isHello(got) || len(got.Interim) != 1 {
		t.Errorf("got %+v", got)
	}
}

// h2Early: an answer that does not wait for the body is whole, and ends the body (RFC 9113, 8.1).
func h2Early(t *testing.T, mk New) {
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, hello)
		_, _ = io.Copy(io.Discard, br)
	})
	c, _ := startH2(t, mk, options(with(o)), H2Settings{})
	s := c.Open(false, "POST /", "content-length: 1000000")
	s.Send([]byte("some"), false)
	got := s.Until("the body is declined", func(a *H2Answer) bool { return a.Reset != "" })
	if got.Head != h2Hello || got.Body != "hello" || !got.Ended || got.Reset != "NO_ERROR" {
		t.Errorf("got %+v", got)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("the next one got %+v", got)
	}
}

// h2Cut: an answer that breaks off shows it, and the other streams go on.
func h2Cut(t *testing.T, mk New) {
	h := with(NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		if strings.HasPrefix(r, "GET /cut ") {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
			return false
		}
		_, _ = io.WriteString(c, hello)
		return true
	}))
	c, _ := startH2(t, mk, options(h), H2Settings{})
	if got := c.Open(true, "GET /cut").Over(); got.Reset != "INTERNAL_ERROR" || got.Ended {
		t.Errorf("got %+v", got)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("the next one got %+v", got)
	}
	Eventually(t, "both are recorded", func() bool { return len(h.Records()) == 2 })
	if r := h.Records(); r[0].Cause != exchange.CauseUpstream || r[1].Cause != exchange.CauseNone {
		t.Errorf("records %+v", r)
	}
}

// slowOrigin reads heads and answers "/" at once, everything else with an interim head and no more; ended gets a value for each of these that ends.
func slowOrigin(t *testing.T, ended chan<- struct{}) *Origin {
	return rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			head := readHead(br)
			switch {
			case head == "":
				return
			case strings.HasPrefix(head, "GET / "):
				_, _ = io.WriteString(c, hello)
			default:
				_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
				_, _ = io.Copy(io.Discard, br)
				ended <- struct{}{}
				return
			}
		}
	})
}

// asked reports whether a request has reached a slowOrigin.
func asked(a *H2Answer) bool { return len(a.Interim) == 1 }

// h2ClientResets: whoever gives a request up frees its instance at once.
func h2ClientResets(t *testing.T, mk New) {
	ended := make(chan struct{}, 10)
	h := with(slowOrigin(t, ended))
	c, _ := startH2(t, mk, options(h), H2Settings{})
	s := c.Open(true, "GET /slow")
	s.Until("it is asked", asked)
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("beside it: %+v", got)
	}
	s.Cancel()
	gone(t, "the request at the origin", ended)
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("after it: %+v", got)
	}
	Eventually(t, "it is recorded", func() bool { return len(h.Records()) == 3 })
	for _, r := range h.Records() {
		if want := map[string]exchange.Cause{"/slow": exchange.CauseClient}[r.Target]; r.Cause != want {
			t.Errorf("%s is recorded with %s", r.Target, r.Cause)
		}
	}
}

func h2ClientLeaves(t *testing.T, mk New) {
	ended := make(chan struct{}, 10)
	h := with(slowOrigin(t, ended))
	c, d := startH2(t, mk, options(h), H2Settings{})
	for range 5 {
		c.Open(true, "GET /slow").Until("it is asked", asked)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("beside them: %+v", got)
	}
	c.Close()
	for range 5 {
		gone(t, "a request at the origin", ended)
	}
	Eventually(t, "all are recorded", func() bool { return len(h.Records()) == 6 })
	Eventually(t, "nothing is left", func() bool { s := d.Stats(); return s.Clients == 0 })
}

// h2StillStreams: streams whose client takes nothing stop nobody, and end when their time is over.
func h2StillStreams(t *testing.T, mk New) {
	big := "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536)
	h := with(NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		text := hello
		if strings.HasPrefix(r, "GET /big ") {
			text = big
		}
		_, err := io.WriteString(c, text)
		return err == nil
	}))
	opt := options(h)
	opt.Timeouts.Write = 1500 * time.Millisecond
	c, _ := startH2(t, mk, opt, H2Settings{Window: 10})
	var still []*H2Stream
	for range 20 {
		still = append(still, c.Open(true, "GET /big"))
	}
	for _, s := range still {
		s.Until("what the window lets through", func(a *H2Answer) bool { return len(a.Body) == 10 })
	}
	for range 10 {
		if got := c.Open(true, "GET /").Over(); !isHello(got) {
			t.Fatalf("beside them: %+v", got)
		}
	}
	for _, s := range still {
		if got := s.Over(); got.Reset != "CANCEL" || len(got.Body) != 10 {
			t.Errorf("a still stream: reset %q after %d bytes", got.Reset, len(got.Body))
		}
	}
}

func h2SlowUpload(t *testing.T, mk New) {
	h := with(NewOrigin(t, always(hello)))
	opt := options(h)
	opt.Timeouts.Body = time.Second
	c, _ := startH2(t, mk, opt, H2Settings{})
	s := c.Open(false, "POST /", "content-length: 10")
	s.Send([]byte("01234"), false)
	if got := s.Over(); got.Status() != "408" {
		t.Errorf("got %+v", got)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("the next one got %+v", got)
	}
}

// h2FaintClient: a client is not given up while it takes what the system holds for it, however little (see faintSides).
func h2FaintClient(t *testing.T, mk New) {
	for slower := time.Duration(1); ; slower *= 4 {
		p := newPace(faintPause, slower)
		got := h2Faintly(t, mk, p)
		if len(got.Body) == faintSize && got.Ended {
			return
		}
		if !p.late.Load() || slower >= 16 {
			t.Fatalf("the client took %d bytes of %d, reset %q", len(got.Body), faintSize, got.Reset)
		}
	}
}

func h2Faintly(t *testing.T, mk New, p *pace) H2Answer {
	body := strings.Repeat("0123456789abcdef", faintSize/16)
	opt := options(with(NewOrigin(t, always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))))
	opt.Timeouts.Write = p.limit
	ln, pool := H2Listener(t)
	opt.Listeners = []exchange.Listener{ln}
	addr, _ := Start(t, mk, opt)
	raw, err := (&net.Dialer{Control: narrow}).Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := NewH2(t, tls.Client(&faintly{TCPConn: raw.(*net.TCPConn), slow: &slow{pace: p, pauses: true}}, h2Config(pool)), H2Settings{})
	return c.Open(true, "GET /").after()
}

// h2Mixed: many streams at a time, each gets its own answer.
func h2Mixed(t *testing.T, mk New) {
	o := NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		path := strings.Fields(r)[1]
		_, body, _ := strings.Cut(r, "\r\n\r\n")
		body = path + ":" + body
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		return err == nil
	})
	c, _ := startH2(t, mk, options(with(o)), H2Settings{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for k := range 10 {
				body := strings.Repeat(fmt.Sprintf("%d.%d ", i, k), 1+i*k*20)
				s := c.Open(false, fmt.Sprintf("POST /%d-%d", i, k), fmt.Sprintf("content-length: %d", len(body)))
				s.Send([]byte(body), true)
				if got := s.Over(); got.Body != fmt.Sprintf("/%d-%d:%s", i, k, body) {
					t.Errorf("stream %d-%d got %d bytes %.40q, want %d", i, k, len(got.Body), got.Body, len(body)+6)
					return
				}
			}
		})
	}
	wg.Wait()
}

// h2BothWays: bodies flow in both directions of a stream at once.
func h2BothWays(t *testing.T, mk New) {
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		readHead(br)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")
		_, _ = io.CopyN(c, br, 4_000_000)
	})
	c, _ := startH2(t, mk, options(with(o)), H2Settings{})
	body := strings.Repeat("0123456789", 400_000)
	var wg sync.WaitGroup
	for range 3 {
		s := c.Open(false, "POST /", "content-length: 4000000")
		wg.Go(func() { s.Send([]byte(body), true) })
		wg.Go(func() {
			if got := s.Over(); got.Body != body || !got.Ended {
				t.Errorf("got %d bytes, reset %q", len(got.Body), got.Reset)
			}
		})
	}
	wg.Wait()
}

// h2Windows: a client that gives room in small and odd pieces gets everything.
func h2Windows(t *testing.T, mk New) {
	body := strings.Repeat("0123456789", 20_000)
	o := NewOrigin(t, always(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
	c, _ := startH2(t, mk, options(with(o)), H2Settings{Window: 1, Keeps: true})
	var wg sync.WaitGroup
	for i := range 4 {
		s := c.Open(true, "GET /")
		wg.Go(func() {
			for have := 1; have < len(body); {
				n := min(1+(have*7+i)%4096, len(body)-have)
				s.Room(uint32(n))
				have += n
				s.Until("the room is used", func(a *H2Answer) bool { return len(a.Body) >= have || a.Reset != "" })
			}
			if got := s.Over(); got.Body != body || !got.Ended {
				t.Errorf("got %d of %d bytes, reset %q", len(got.Body), len(body), got.Reset)
			}
		})
	}
	wg.Wait()
}

// h2Limit: a hundred streams at a time are served; one more is refused, and may come again.
func h2Limit(t *testing.T, mk New) {
	hold := make(chan struct{})
	o := rawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for readHead(br) != "" {
			<-hold
			_, _ = io.WriteString(c, hello)
		}
	})
	c, _ := startH2(t, mk, options(with(o)), H2Settings{})
	var open []*H2Stream
	for range 100 {
		open = append(open, c.Open(true, "GET /"))
	}
	if got := c.Open(true, "GET /").Over(); got.Reset != "REFUSED_STREAM" {
		t.Errorf("one more: %+v", got)
	}
	close(hold)
	for _, s := range open {
		if got := s.Over(); !isHello(got) {
			t.Fatalf("got %+v", got)
		}
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("afterwards: %+v", got)
	}
}
