// Package exchangetest holds the table of raw requests, raw answers and expected bytes that every driver must satisfy alike.
package exchangetest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/http1"
)

// New makes the driver under test.
type New func(exchange.Options) (exchange.Driver, error)

// Origin is a scripted upstream: it reads whole requests and answers each with what Answer returns.
type Origin struct {
	ln     net.Listener
	answer func(n int, request string, c net.Conn) bool // reports whether the connection goes on

	mu       sync.Mutex
	requests []string // raw, in order of completion
	conns    map[net.Conn]bool
	accepted int
	wg       sync.WaitGroup
}

// NewOrigin starts an origin. answer writes to c itself.
func NewOrigin(t testing.TB, answer func(n int, request string, c net.Conn) bool) *Origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &Origin{ln: ln, answer: answer, conns: make(map[net.Conn]bool)}
	o.wg.Go(o.accept)
	t.Cleanup(o.Close)
	return o
}

// Close ends it and all its connections.
func (o *Origin) Close() {
	_ = o.ln.Close()
	o.mu.Lock()
	for c := range o.conns {
		_ = c.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

// Addr is where it listens.
func (o *Origin) Addr() string { return o.ln.Addr().String() }

// Requests returns what was read, whole requests only.
func (o *Origin) Requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.requests...)
}

// Accepted is how many connections were made to it.
func (o *Origin) Accepted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepted
}

func (o *Origin) accept() {
	for {
		c, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns[c] = true
		o.accepted++
		o.mu.Unlock()
		o.wg.Go(func() { o.serve(c) })
	}
}

func (o *Origin) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		o.mu.Lock()
		delete(o.conns, c)
		o.mu.Unlock()
	}()
	br := bufio.NewReader(c)
	for {
		r, err := ReadRequest(br, c)
		if err != nil {
			return
		}
		o.mu.Lock()
		o.requests = append(o.requests, r)
		n := len(o.requests)
		o.mu.Unlock()
		if !o.answer(n, r, c) {
			return
		}
	}
}

// ReadRequest reads one request, raw, with its body. It answers an expectation with 100 Continue.
func ReadRequest(br *bufio.Reader, c io.Writer) (string, error) {
	var b strings.Builder
	length, chunked, expect := 0, false, false
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		if line == "\r\n" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "content-length":
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		case "transfer-encoding":
			chunked = true
		case "expect":
			expect = true
		}
	}
	if expect && c != nil {
		_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if !chunked {
		_, err := io.CopyN(&b, br, int64(length))
		return b.String(), err
	}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return "", err
		}
		if n > 0 {
			if _, err := io.CopyN(&b, br, n+2); err != nil {
				return "", err
			}
			continue
		}
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return "", err
			}
			b.WriteString(line)
			if line == "\r\n" {
				return b.String(), nil
			}
		}
	}
}

// Handler routes everything to its upstreams in turn of failures, and remembers the records.
type Handler struct {
	Upstreams []*exchange.Upstream
	Decide    func(r *http1.Request, p *exchange.Peer, d *exchange.Decision) // after the default decision, may change it

	mu      sync.Mutex
	records []Record
}

// Record is what a test may want of an exchange.Record, copied.
type Record struct {
	Method, Target string
	Status         int
	Cause          exchange.Cause
	Fault          http1.Fault
	Attempts       int
	In, Out        int64
	Steps          string
}

// Route implements exchange.Handler.
func (h *Handler) Route(r *http1.Request, p *exchange.Peer, d *exchange.Decision) {
	if len(h.Upstreams) > 0 {
		d.Upstream = h.Upstreams[0]
	}
	d.StripCookie = "portico-shop"
	if _, n := r.Cookie("new"); n > 0 {
		d.AnswerFields = append(d.Scratch[:0], "Set-Cookie: portico-shop=x; Path=/; HttpOnly\r\n"...)
	}
	if h.Decide != nil {
		h.Decide(r, p, d)
	}
}

// Answered implements exchange.Handler.
func (h *Handler) Answered(*http1.Request, *http1.Response, *exchange.Decision) {}

// Hinted implements exchange.Handler.
func (h *Handler) Hinted(*http1.Request, *http1.Response, *exchange.Decision) []byte { return nil }

// Failed implements exchange.Handler.
func (h *Handler) Failed(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision, why exchange.Why) {
	if !why.Retry {
		return
	}
	for i, u := range h.Upstreams {
		if u == d.Upstream && i+1 < len(h.Upstreams) {
			d.Verdict, d.Upstream, d.Connect = exchange.Forward, h.Upstreams[i+1], 0
			return
		}
	}
}

// Finished implements exchange.Handler.
func (h *Handler) Finished(r *http1.Request, _ *exchange.Peer, _ *exchange.Decision, rec *exchange.Record) {
	var steps []string
	for _, s := range rec.Steps {
		steps = append(steps, s.What.String())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, Record{
		string(r.Method), string(r.Target), rec.Status, rec.Cause, rec.Fault, rec.Attempts, rec.BytesIn, rec.BytesOut, strings.Join(steps, " "),
	})
}

// Records returns what Finished was told.
func (h *Handler) Records() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Record(nil), h.records...)
}

// patience is how long tests wait for what must happen, and what the limits are that a test does not set: no machine is so busy that it
// needs as much.
const patience = 3 * time.Minute

// patient has the limits that a test does not set be patience: a test of something else does not fail for them.
func patient(o exchange.Options) exchange.Options {
	l := &o.Timeouts
	for _, d := range []*time.Duration{&l.Header, &l.Idle, &l.Connect, &l.Body, &l.Response, &l.Write, &l.Continue, &l.Linger, &l.Grace, &o.Handshake} {
		if *d == 0 {
			*d = patience
		}
	}
	return o
}

// Start runs a driver on a free port until the test ends and returns its address. The limits in o that are zero are far away.
func Start(t testing.TB, mk New, o exchange.Options) (string, exchange.Driver) {
	t.Helper()
	if o.Listeners == nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Listeners = []exchange.Listener{{Listener: ln}}
	}
	d, err := mk(patient(o))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.Serve(context.Background()); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = d.Shutdown(ctx)
		wg.Wait()
	})
	return o.Listeners[0].Addr().String(), d
}

// Exchange sends raw bytes and returns all that comes back until the proxy closes, or, for a connection that it keeps, until we
// have half-closed and it has answered everything.
func Exchange(t testing.TB, addr string, pieces ...string) string {
	t.Helper()
	c := Dial(t, addr)
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			break // refused early
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	s := string(b)
	if err != nil {
		s += fmt.Sprintf("<%s>", short(err))
	}
	return s
}

// ExchangeOpen is Exchange for servers that take a half-closed client for gone: it half-closes only when enough says that all answers
// have come, and then reads what else there may be.
func ExchangeOpen(t testing.TB, addr string, enough func(got string) bool, pieces ...string) string {
	t.Helper()
	c := Dial(t, addr)
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			break // refused early
		}
	}
	var got []byte
	buf := make([]byte, 64<<10)
	for open := true; ; {
		if open && enough(string(got)) {
			_ = c.(*net.TCPConn).CloseWrite()
			open = false
		}
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			return string(got)
		}
		if err != nil {
			return string(got) + fmt.Sprintf("<%s>", short(err))
		}
	}
}

func short(err error) string {
	switch {
	case strings.Contains(err.Error(), "reset"), strings.Contains(err.Error(), "forcibly"):
		return "reset"
	case strings.Contains(err.Error(), "timeout"):
		return "timeout"
	}
	return err.Error()
}

// Dial connects with a deadline for everything.
func Dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// Expect reads exactly want from c.
func Expect(t testing.TB, c io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(c, b)
	if err != nil || string(b) != want {
		t.Fatalf("got %q (%v), want %q", b[:n], err, want)
	}
}

// Eventually waits for a condition that another goroutine brings about.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func wild(got, want string) bool {
	parts := strings.Split(want, "<*>")
	if !strings.HasPrefix(got, parts[0]) {
		return false
	}
	got = got[len(parts[0]):]
	for i, p := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(got, p)
		}
		j := strings.Index(got, p)
		if j < 0 {
			return false
		}
		got = got[j+len(p):]
	}
	return got == ""
}

func lines(s string) []byte { return bytes.ReplaceAll([]byte(s), []byte("\r\n"), []byte("\n")) }

//nolint:gochecknoglobals // a constant
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
