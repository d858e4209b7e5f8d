package http1test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"portico/proxy/http1"
)

// Case is one row: what a client sends, what the origin answers to each request in turn, and the bytes that each must see.
type Case struct {
	Name   string
	Send   []string // in pieces
	Answer []string // to the first, second… request; a trailing "<close>" or "<reset>" ends the connection behind it
	Origin []string // requests that the origin must have seen, without the fields that the proxy adds
	Client string   // all that the client must have seen; "<*>" matches anything, "<reset>" at the end a reset
}

// added is what the proxy adds to every request of the table.
const added = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"

const (
	get   = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
)

func refused(status string) string {
	return "HTTP/1.1 " + status + "\r\n<*>Connection: close\r\n\r\n<*>"
}

// Cases is the table.
//
//nolint:gochecknoglobals // a constant table
var Cases = []Case{
	{Name: "small", Send: []string{get}, Answer: []string{hello}, Origin: []string{get}, Client: hello},
	{Name: "byte by byte", Send: strings.Split("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""), Answer: []string{hello}, Origin: []string{get}, Client: hello},
	{Name: "pipelined, in order", Send: []string{get + "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n" + "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n"},
		Answer: []string{hello, "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
		Origin: []string{get, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n"},
		Client: hello + "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno" + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
	{Name: "empty line before the request", Send: []string{"\r\n" + get}, Answer: []string{hello}, Origin: []string{get}, Client: hello},
	{Name: "P24 empty lines without end", Send: []string{"\r\n\r\n\r\n"}, Client: refused("400 Bad Request")},
	{Name: "HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{hello}, Origin: []string{get}, Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{Name: "HTTP/1.0 kept alive", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" + "GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{hello, hello}, Origin: []string{get, get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{Name: "client closes", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + get}, Answer: []string{hello}, Origin: []string{get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{Name: "origin closes", Send: []string{get + get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello<close>", hello}, Origin: []string{get, get}, Client: hello + hello},
	{Name: "body with a length", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "he", "llo", get}, Answer: []string{hello, hello},
		Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", get}, Client: hello + hello},
	{Name: "body of length 0", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + get}, Answer: []string{hello, hello},
		Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", get}, Client: hello + hello},
	{Name: "chunked body, normalised", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  Chunked\r\n\r\n005;x=y\r\nhel", "lo\r\n1\r\n!\r\n0\r\nA:b\r\nX_Y: z\r\nSet-Cookie: x\r\n\r\n" + get},
		Answer: []string{hello, hello}, Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n<*>hel<*>lo\r\n<*>1\r\n!\r\n0\r\nA: b\r\n\r\n", get}, Client: hello + hello},
	{Name: "chunked answer", Send: []string{get + get}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n", hello}, Origin: []string{get, get},
		Client: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n" + hello},
	{Name: "chunked answer to HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		Origin: []string{get}, Client: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
	{Name: "answer until close", Send: []string{get + get}, Answer: []string{"HTTP/1.1 200 OK\r\n\r\nhello<close>", hello}, Origin: []string{get, get},
		Client: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + hello},
	{Name: "answer until close to HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{"HTTP/1.0 200 OK\r\n\r\nhello<close>"}, Origin: []string{get}, Client: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
	{Name: "HEAD", Send: []string{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", hello},
		Origin: []string{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", get}, Client: "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + hello},
	{Name: "204", Send: []string{get + get}, Answer: []string{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", hello}, Origin: []string{get, get}, Client: "HTTP/1.1 204 No Content\r\n\r\n" + hello},
	{Name: "304", Send: []string{get + get}, Answer: []string{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n", hello}, Origin: []string{get, get},
		Client: "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n" + hello},
	{Name: "103 before the answer", Send: []string{get}, Answer: []string{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello}, Origin: []string{get}, Client: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello},
	{Name: "103 is not for HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello}, Origin: []string{get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{Name: "100 that nobody asked for", Send: []string{get}, Answer: []string{"HTTP/1.1 100 Continue\r\n\r\n" + hello}, Origin: []string{get}, Client: hello},
	{Name: "endless 1xx", Send: []string{get}, Answer: []string{strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17) + hello}, Origin: []string{get}, Client: "<*>HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "P18 hop-by-hop of the answer", Send: []string{get}, Answer: []string{"HTTP/1.1 200 OK\r\nConnection: X-A\r\nX-A: b\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nX-B:c\r\nContent-Length: 5\r\n\r\nhello"},
		Origin: []string{get}, Client: "HTTP/1.1 200 OK\r\nX-B: c\r\nContent-Length: 5\r\n\r\nhello"},
	{Name: "cookie removed, cookie set", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nCookie: portico-shop=y; new=1\r\n\r\n"}, Answer: []string{hello},
		Origin: []string{"GET / HTTP/1.1\r\nHost: a\r\nCookie: new=1\r\n\r\n"}, Client: "HTTP/1.1 200 OK\r\nSet-Cookie: portico-shop=x; Path=/; HttpOnly\r\nContent-Length: 5\r\n\r\nhello"},
	{Name: "absolute target", Send: []string{"GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n"}, Answer: []string{hello}, Origin: []string{"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"}, Client: hello},
	{Name: "OPTIONS *", Send: []string{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"}, Answer: []string{hello}, Origin: []string{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"}, Client: hello},
	{Name: "P20 upgrade to anything else stays HTTP", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n" + get}, Answer: []string{hello}, Origin: []string{get}, Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{Name: "P20 upgrade in HTTP/1.0 stays HTTP", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, Answer: []string{hello}, Origin: []string{get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{Name: "refused upgrade stays HTTP", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + get}, Answer: []string{hello, hello},
		Origin: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", get}, Client: hello + hello},
	{Name: "P21 101 that nobody asked for", Send: []string{get}, Answer: []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, Origin: []string{get}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "P21 101 to another protocol", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, Answer: []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\n"},
		Origin: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "P1 smuggled", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + get}, Client: refused("400 Bad Request")},
	{Name: "P4", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n" + get}, Client: refused("501 Not Implemented")},
	{Name: "P7 bare LF", Send: []string{"GET / HTTP/1.1\nHost: a\n\n"}, Client: refused("400 Bad Request")},
	{Name: "P8 bad chunk", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"}, Client: refused("400 Bad Request")},
	{Name: "P8 bad trailer", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"}, Client: refused("400 Bad Request")},
	{Name: "P13 CONNECT", Send: []string{"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"}, Client: refused("405 Method Not Allowed")},
	{Name: "P14", Send: []string{"GET / HTTP/1.1\r\n\r\n"}, Client: refused("400 Bad Request")},
	{Name: "P23 head", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 17<<10) + "\r\n\r\n"}, Client: refused("431 Request Header Fields Too Large")},
	{Name: "P23 line", Send: []string{"GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n"}, Client: refused("414 URI Too Long")},
	{Name: "P23 line without end", Send: []string{"GET /" + strings.Repeat("a", 9<<10)}, Client: refused("414 URI Too Long")},
	{Name: "a head of 15 KiB", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 15<<10) + "\r\n\r\n"}, Answer: []string{hello},
		Origin: []string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 15<<10) + "\r\n\r\n"}, Client: hello},
	{Name: "R1 short answer", Send: []string{get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello<close>"}, Origin: []string{get}, Client: "<*><reset>"},
	{Name: "R1 cut chunks", Send: []string{get}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n<close>"}, Origin: []string{get}, Client: "<*><reset>"},
	{Name: "R1 bad chunks", Send: []string{get}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZ\r\n"}, Origin: []string{get}, Client: "<*><reset>"},
	{Name: "R1 reset until close", Send: []string{get}, Answer: []string{"HTTP/1.1 200 OK\r\n\r\nhello<reset>"}, Origin: []string{get}, Client: "<*>"},
	{Name: "R2 bytes behind an answer", Send: []string{get, get}, Answer: []string{hello + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", hello}, Origin: []string{get, get}, Client: hello + hello},
	{Name: "malformed answer", Send: []string{get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"}, Origin: []string{get}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "no answer to POST", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"}, Answer: []string{"<close>"}, Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "head of the answer too large", Send: []string{get}, Answer: []string{"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 70<<10) + "\r\n\r\n"}, Origin: []string{get}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "head of the answer of 40 KiB", Send: []string{get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: " + strings.Repeat("a", 40<<10) + "\r\n\r\n"}, Origin: []string{get},
		Client: "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 40<<10) + "\r\nContent-Length: 0\r\n\r\n"},
	{Name: "early answer", Send: []string{"POST / HTTP/1.1\r\nHost: early\r\nContent-Length: 100000\r\n\r\nhello"}, Client: refused("413 Content Too Large")},
	{Name: "body of 1 MiB", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n", strings.Repeat("0123456789abcdef", 65536), get}, Answer: []string{hello, hello},
		Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536), get}, Client: hello + hello},
	{Name: "answer of 1 MiB", Send: []string{get + get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536), hello}, Origin: []string{get, get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536) + hello},
	{Name: "chunked answer of 1 MiB to HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + strings.Repeat("0123456789abcdef", 65536) + "\r\n0\r\n\r\n"}, Origin: []string{get},
		Client: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536)},
}

// RunTable runs the table against a driver.
func RunTable(t *testing.T, mk New) {
	for _, c := range Cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			runCase(t, mk, c)
		})
	}
}

func runCase(t *testing.T, mk New, c Case) {
	o := NewOrigin(t, func(n int, _ string, conn net.Conn) bool { return script(c.Answer, n, conn) })
	h := &Handler{Upstreams: []*http1.Upstream{{Addr: o.Addr()}}}
	h.Decide = func(r *http1.Request, _ *http1.Peer, d *http1.Decision) {
		if string(r.Host) == "early" {
			d.MaxBody = 1000
		}
	}
	addr, _ := Start(t, mk, http1.Options{Config: http1.Config{Handler: h, Timeouts: http1.Timeouts{Linger: 200 * time.Millisecond}}})
	got := Exchange(t, addr, c.Send...)
	if c.Name == "R2 bytes behind an answer" || strings.HasSuffix(c.Client, "<*>") && strings.HasSuffix(got, "<reset>") {
		got = strings.TrimSuffix(got, "<reset>")
	}
	if !wild(got, c.Client) {
		t.Errorf("client got  %s\nclient want %s", clip(got), clip(c.Client))
	}
	var seen []string
	for _, r := range o.Requests() {
		seen = append(seen, strings.Replace(r, added, "", 1))
	}
	if len(seen) != len(c.Origin) {
		t.Fatalf("origin got %d requests %.300q, want %d", len(seen), seen, len(c.Origin))
	}
	for i := range seen {
		if !wild(moveFraming(seen[i]), moveFraming(c.Origin[i])) {
			t.Errorf("origin got  %s\norigin want %s", clip(seen[i]), clip(c.Origin[i]))
		}
	}
}

// moveFraming ignores where in the head the proxy writes framing and connection fields, which it always does last.
func moveFraming(s string) string {
	head, body, ok := strings.Cut(s, "\r\n\r\n")
	if !ok {
		return s
	}
	var first, last []string
	for _, l := range strings.Split(head, "\r\n") {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "Content-Length", "Transfer-Encoding", "Connection", "Upgrade":
			last = append(last, l)
		default:
			first = append(first, l)
		}
	}
	return strings.Join(append(first, last...), "\r\n") + "\r\n\r\n" + body
}

func script(answers []string, n int, conn net.Conn) bool {
	if n > len(answers) {
		return false
	}
	a := answers[n-1]
	text, closes := strings.CutSuffix(a, "<close>")
	text, resets := strings.CutSuffix(text, "<reset>")
	if _, err := io.WriteString(conn, text); err != nil {
		return false
	}
	if resets {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	return !closes && !resets
}

func clip(s string) string {
	if len(s) > 600 {
		s = s[:300] + "…" + s[len(s)-200:]
	}
	return string(lines(s))
}
