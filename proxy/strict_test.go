package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
)

// witness is an application server that notes what it saw.
type witness struct {
	mu   sync.Mutex
	seen []string // "METHOD target body"
	bad  int      // bodies that did not end properly
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.UserAgent() == "portico-check" {
		return
	}
	b, err := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.bad++
		return
	}
	w.seen = append(w.seen, r.Method+" "+r.RequestURI+" "+string(b))
}

func (w *witness) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen
	w.seen = nil
	return s
}

// TestStrictRequests sends what must have one reading or none: lines P1 to P17,
// P23 and P24 of the requirements. The second column is the status of the first
// answer, the third what the instance may have seen.
func TestStrictRequests(t *testing.T) {
	w := &witness{}
	addr, _ := origin(t, w.ServeHTTP)
	f := start(t, options(), site(addr))
	const host = "Host: shop.test\r\n"
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	for _, tt := range []struct {
		name, request string
		status        int
		seen          string
	}{
		{"P1 length and chunked", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P1 chunked and length", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400, ""},
		{"P2 two lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, ""},
		{"P2 equal lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, ""},
		{"P2 list of lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n\r\nhello", 400, ""},
		{"P3 plus", "POST / HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\nhello", 400, ""},
		{"P3 space", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5 5\r\n\r\nhello", 400, ""},
		{"P3 empty", "POST / HTTP/1.1\r\n" + host + "Content-Length: \r\n\r\nhello", 400, ""},
		{"P3 2^64", "POST / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551616\r\n\r\nhello", 400, ""},
		{"P3 NUL", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\x00\r\n\r\nhello", 400, ""},
		{"P3 hex", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x5\r\n\r\nhello", 400, ""},
		{"P4 gzip", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n", 501, ""},
		{"P4 chunked not last", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 501, ""},
		{"P4 twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, ""},
		{"P4 x-chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, ""},
		{"P4 vertical tab", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"P5 space before colon", "POST / HTTP/1.1\r\n" + host + "Content-Length : 5\r\n\r\nhello", 400, ""},
		{"P5 empty name", "GET / HTTP/1.1\r\n" + host + ": x\r\n\r\n", 400, ""},
		{"P6 folded", "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", 400, ""},
		{"P6 folded framing", "POST / HTTP/1.1\r\n" + host + "X: a\r\n Content-Length: 5\r\n\r\nhello", 400, ""},
		{"P7 bare CR in value", "GET / HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n", 400, ""},
		{"P7 bare CR before LF", "GET / HTTP/1.1\r\n" + host + "X: a\r\r\n\r\n", 400, ""},
		{"P7 bare LF", "GET / HTTP/1.1\nHost: shop.test\n\n", 400, ""},
		{"P8 chunk size not hex", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n0\r\n\r\n", 400, ""},
		{"P8 chunk size sign", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", 400, ""},
		{"P8 chunk size 0x", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400, ""},
		{"P8 chunk size too long", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", 400, ""},
		{"P8 LF in extension", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n", 400, ""},
		{"P8 no CRLF after data", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", 400, ""},
		{"P8 LF after size", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400, ""},
		{"P9 length in trailer", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 3\r\n\r\n", 400, ""},
		{"P9 host in trailer", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: x\r\n\r\n", 400, ""},
		{"P10 chunked in 1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, ""},
		{"P11 space", "GET /a b HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P11 control", "GET /a\x01 HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P11 NUL", "GET /a\x00 HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P11 fragment", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P11 bad escape", "GET /a%zz HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P12 absolute form", "GET http://shop.test/abs?q HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 200, "GET /abs?q "},
		{"P12 other host", "GET http://evil.test/abs HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P12 user information", "GET http://a@shop.test/ HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P12 other scheme", "GET ftp://shop.test/ HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P13 CONNECT", "CONNECT shop.test:80 HTTP/1.1\r\n" + host + "\r\n", 405, ""},
		{"P13 TRACE", "TRACE / HTTP/1.1\r\n" + host + "\r\n", 405, ""},
		{"P13 star with GET", "GET * HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		// The instance is net/http as well, which answers this by itself.
		{"P13 star with OPTIONS", "OPTIONS * HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 200, ""},
		{"P13 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ""},
		{"P14 no host", "GET / HTTP/1.1\r\n\r\n", 400, ""},
		{"P14 two hosts", "GET / HTTP/1.1\r\n" + host + "Host: other.test\r\n\r\n", 400, ""},
		{"P14 same host twice", "GET / HTTP/1.1\r\n" + host + host + "\r\n", 400, ""},
		{"P15 slash", "GET / HTTP/1.1\r\nHost: shop.test/x\r\n\r\n", 400, ""},
		{"P15 at", "GET / HTTP/1.1\r\nHost: a@shop.test\r\n\r\n", 400, ""},
		{"P15 space", "GET / HTTP/1.1\r\nHost: shop.test x\r\n\r\n", 400, ""},
		{"P15 two ports", "GET / HTTP/1.1\r\nHost: shop.test:80:80\r\n\r\n", 400, ""},
		{"P15 comma", "GET / HTTP/1.1\r\nHost: shop.test,other.test\r\n\r\n", 400, ""},
		{"P15 port too high", "GET / HTTP/1.1\r\nHost: shop.test:99999\r\n\r\n", 400, ""},
		{"P16 unknown host", "GET / HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n", 404, ""},
		{"P17 encoded path", "GET /a%2fb/%2e%2e/..%2Fc?d=%zz HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 200, "GET /a%2fb/%2e%2e/..%2Fc?d=%zz "},
		{"P17 double slash", "GET //a//b HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 200, "GET //a//b "},
		{"P23 head too large", "GET / HTTP/1.1\r\n" + host + "X: " + many(17<<10, "a") + "\r\n\r\n", 431, ""},
		{"P23 head without end", "GET / HTTP/1.1\r\n" + host + "X: " + many(40<<10, "a"), 431, ""},
		{"P23 too many fields", "GET / HTTP/1.1\r\n" + host + many(100, "A: b\r\n") + "\r\n", 431, ""},
		{"P23 as many as allowed", "GET / HTTP/1.1\r\n" + host + many(98, "A: b\r\n") + "Connection: close\r\n\r\n", 200, "GET / "},
		{"P23 line too long", "GET /" + many(9<<10, "a") + " HTTP/1.1\r\n" + host + "\r\n", 414, ""},
		{"P23 line without end", "GET /" + many(20<<10, "a"), 414, ""},
		{"P24 empty lines", many(100, "\r\n") + "GET / HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"P24 extensions", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;" + many(9<<10, "a") + "\r\na\r\n0\r\n\r\n", 400, ""},
		{"P24 trailers", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + many(2000, "A: bbbbb\r\n") + "\r\n", 400, ""},
		{"version", "GET / HTTP/1.2\r\n" + host + "\r\n", 505, ""},
		{"no version", "GET /\r\n\r\n", 400, ""},
		{"method", "GE(T / HTTP/1.1\r\n" + host + "\r\n", 400, ""},
		{"expectation", "POST / HTTP/1.1\r\n" + host + "Expect: pie\r\nContent-Length: 1\r\n\r\na", 417, ""},
		{"sound chunked", "POST /c HTTP/1.1\r\n" + host + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n", 200, "POST /c hello!"},
		{"sound length", "POST /l HTTP/1.1\r\n" + host + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", 200, "POST /l hello"},
		{"HTTP/1.0", "GET /old HTTP/1.0\r\n" + host + "\r\n", 200, "GET /old "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := f.raw(tt.request)
			var status int
			if _, err := fmt.Sscanf(answer, "HTTP/1.%d %d", new(int), &status); err != nil || status != tt.status {
				t.Errorf("answer %.120q, want status %d", answer, tt.status)
			}
			if n := strings.Count(answer, "HTTP/1."); n != 1 {
				t.Errorf("%d answers: %.300q", n, answer)
			}
			if seen := strings.Join(w.take(), "|"); seen != tt.seen {
				t.Errorf("the instance saw %q, want %q", seen, tt.seen)
			}
		})
	}
}

// TestPipelining sends several requests at once: the answers come in order, and a
// bad request behind good ones ends the connection without disturbing them.
func TestPipelining(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "<%s %s>", r.URL.Path, b)
	})
	f := start(t, options(), site(addr))
	answer := f.raw("GET /1 HTTP/1.1\r\nHost: shop.test\r\n\r\n" +
		"POST /2 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc" +
		"POST /3 HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n" +
		"GET /4 HTTP/1.1\r\nHost: shop.test\r\n\r\n" +
		"GET /5 HTTP/1.1\r\nHost: shop.test\r\nBad Name: x\r\n\r\nGET /6 HTTP/1.1\r\nHost: shop.test\r\n\r\n")
	at := 0
	for _, want := range []string{"</1 >", "</2 abc>", "</3 def>", "</4 >", "HTTP/1.1 400 "} {
		i := strings.Index(answer[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing or out of order in %q", want, answer)
		}
		at += i
	}
	if strings.Contains(answer, "/6") {
		t.Errorf("a request behind a bad one was served: %q", answer)
	}
}

// TestHeadArrivesSlowly: a head may come in pieces, but not for longer than the
// header timeout, whatever is set for idle connections.
func TestHeadArrivesSlowly(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	atSomePace(t, time.Second, func(p *pace) error { return slowHead(t, p, addr) })
}

func slowHead(t *testing.T, p *pace, addr string) error {
	o := options()
	o.Conf.Timeouts.Header = units.Duration(p.limit)
	f := start(t, o, site(addr))

	c, err := net.Dial("tcp", f.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	for _, b := range []byte("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n") {
		_, _ = c.Write([]byte{b})
	}
	_ = c.SetReadDeadline(time.Now().Add(waitTime))
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	p.took(time.Since(began))
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("in pieces: %v %v", resp, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if _, err := io.WriteString(c, "GET /late HT"); err != nil {
		t.Fatal(err)
	}
	resp, err = http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 408 {
		t.Fatalf("unfinished head: %v %v, want 408", resp, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("connection after 408: %v, want its end", err)
	}
	return nil
}

// TestBodyLimit: 413 for a body beyond the site's limit, declared or not (P23).
func TestBodyLimit(t *testing.T) {
	w := &witness{}
	addr, _ := origin(t, w.ServeHTTP)
	c := site(addr)
	c.Limits = sites.FrontLimits{Body: 100 << 10}
	f := start(t, options(), c)
	declared := f.raw("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 200000\r\n\r\n")
	if !strings.HasPrefix(declared, "HTTP/1.1 413 ") {
		t.Errorf("declared: %.100q", declared)
	}
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("x", 64<<10))
	streamed := f.raw("POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk + chunk + "0\r\n\r\n")
	if !strings.HasPrefix(streamed, "HTTP/1.1 413 ") {
		t.Errorf("streamed: %.100q", streamed)
	}
	if seen := w.take(); len(seen) != 0 {
		t.Errorf("the instance took %d bodies for whole", len(seen))
	}
}

// TestExpectContinue: no deadlock whichever side answers first, and a body after
// an early answer is not a request (P22).
func TestExpectContinue(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "took %d", n)
	})
	f := start(t, options(), site(addr))
	for _, size := range []int{5, 200 << 10} {
		for _, path := range []string{"/take", "/refuse"} {
			c, err := net.Dial("tcp", f.http)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(waitTime))
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", path, size)
			br := bufio.NewReader(c)
			line, err := br.ReadString('\n')
			if err != nil {
				t.Fatalf("%s %d: %v", path, size, err)
			}
			if strings.HasPrefix(line, "HTTP/1.1 100 ") {
				_, _ = br.ReadString('\n')
				_, _ = io.WriteString(c, strings.Repeat("G", size))
				line, err = br.ReadString('\n')
			} else if path == "/take" {
				t.Errorf("%s %d: no 100 before %q", path, size, line)
			}
			want := "HTTP/1.1 200 "
			if path == "/refuse" {
				want = "HTTP/1.1 403 "
			}
			if err != nil || !strings.HasPrefix(line, want) {
				t.Errorf("%s %d: got %q, %v", path, size, line, err)
			}
		}
	}
	// The body that follows an early answer must not be read as a request.
	answer := f.raw("POST /refuse HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n")
	if strings.Count(answer, "HTTP/1.1 ") != 1 {
		t.Errorf("more than one answer: %q", answer)
	}
}
