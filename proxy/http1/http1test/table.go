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
	{"small", []string{get}, []string{hello}, []string{get}, hello},
	{"byte by byte", strings.Split("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""), []string{hello}, []string{get}, hello},
	{"pipelined, in order", []string{get + "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n" + "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n"},
		[]string{hello, "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
		[]string{get, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n"},
		hello + "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno" + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
	{"empty line before the request", []string{"\r\n" + get}, []string{hello}, []string{get}, hello},
	{"P24 empty lines without end", []string{"\r\n\r\n\r\n"}, nil, nil, refused("400 Bad Request")},
	{"HTTP/1.0", []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, []string{hello}, []string{get}, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{"HTTP/1.0 kept alive", []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" + "GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, []string{hello, hello}, []string{get, get},
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{"client closes", []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + get}, []string{hello}, []string{get},
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{"origin closes", []string{get + get}, []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello<close>", hello}, []string{get, get}, hello + hello},
	{"body with a length", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "he", "llo", get}, []string{hello, hello},
		[]string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", get}, hello + hello},
	{"body of length 0", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + get}, []string{hello, hello},
		[]string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", get}, hello + hello},
	{"chunked body, normalised", []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  Chunked\r\n\r\n005;x=y\r\nhel", "lo\r\n1\r\n!\r\n0\r\nA:b\r\nX_Y: z\r\nSet-Cookie: x\r\n\r\n" + get},
		[]string{hello, hello}, []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n<*>hel<*>lo\r\n<*>1\r\n!\r\n0\r\nA: b\r\n\r\n", get}, hello + hello},
	{"chunked answer", []string{get + get}, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n", hello}, []string{get, get},
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n" + hello},
	{"chunked answer to HTTP/1.0", []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"}, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		[]string{get}, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
	{"answer until close", []string{get + get}, []string{"HTTP/1.1 200 OK\r\n\r\nhello<close>", hello}, []string{get, get},
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + hello},
	{"answer until close to HTTP/1.0", []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, []string{"HTTP/1.0 200 OK\r\n\r\nhello<close>"}, []string{get}, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
	{"HEAD", []string{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get}, []string{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", hello},
		[]string{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", get}, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + hello},
	{"204", []string{get + get}, []string{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", hello}, []string{get, get}, "HTTP/1.1 204 No Content\r\n\r\n" + hello},
	{"304", []string{get + get}, []string{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n", hello}, []string{get, get},
		"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n" + hello},
	{"103 before the answer", []string{get}, []string{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello}, []string{get}, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello},
	{"103 is not for HTTP/1.0", []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, []string{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello}, []string{get},
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{"100 that nobody asked for", []string{get}, []string{"HTTP/1.1 100 Continue\r\n\r\n" + hello}, []string{get}, hello},
	{"endless 1xx", []string{get}, []string{strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17) + hello}, []string{get}, "<*>HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{"P18 hop-by-hop of the answer", []string{get}, []string{"HTTP/1.1 200 OK\r\nConnection: X-A\r\nX-A: b\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nX-B:c\r\nContent-Length: 5\r\n\r\nhello"},
		[]string{get}, "HTTP/1.1 200 OK\r\nX-B: c\r\nContent-Length: 5\r\n\r\nhello"},
	{"cookie removed, cookie set", []string{"GET / HTTP/1.1\r\nHost: a\r\nCookie: portico-shop=y; new=1\r\n\r\n"}, []string{hello},
		[]string{"GET / HTTP/1.1\r\nHost: a\r\nCookie: new=1\r\n\r\n"}, "HTTP/1.1 200 OK\r\nSet-Cookie: portico-shop=x; Path=/; HttpOnly\r\nContent-Length: 5\r\n\r\nhello"},
	{"absolute target", []string{"GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n"}, []string{hello}, []string{"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"}, hello},
	{"OPTIONS *", []string{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"}, []string{hello}, []string{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"}, hello},
	{"P20 upgrade to anything else stays HTTP", []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n" + get}, []string{hello}, []string{get}, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{"P20 upgrade in HTTP/1.0 stays HTTP", []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, []string{hello}, []string{get},
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	{"refused upgrade stays HTTP", []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + get}, []string{hello, hello},
		[]string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", get}, hello + hello},
	{"P21 101 that nobody asked for", []string{get}, []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, []string{get}, "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{"P21 101 to another protocol", []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\n"},
		[]string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{"P1 smuggled", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + get}, nil, nil, refused("400 Bad Request")},
	{"P4", []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n" + get}, nil, nil, refused("501 Not Implemented")},
	{"P7 bare LF", []string{"GET / HTTP/1.1\nHost: a\n\n"}, nil, nil, refused("400 Bad Request")},
	{"P8 bad chunk", []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"}, nil, nil, refused("400 Bad Request")},
	{"P8 bad trailer", []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"}, nil, nil, refused("400 Bad Request")},
	{"P13 CONNECT", []string{"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"}, nil, nil, refused("405 Method Not Allowed")},
	{"P14", []string{"GET / HTTP/1.1\r\n\r\n"}, nil, nil, refused("400 Bad Request")},
	{"P23 head", []string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 17<<10) + "\r\n\r\n"}, nil, nil, refused("431 Request Header Fields Too Large")},
	{"P23 line", []string{"GET /" + strings.Repeat("a", 9<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n"}, nil, nil, refused("414 URI Too Long")},
	{"P23 line without end", []string{"GET /" + strings.Repeat("a", 9<<10)}, nil, nil, refused("414 URI Too Long")},
	{"a head of 15 KiB", []string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 15<<10) + "\r\n\r\n"}, []string{hello},
		[]string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 15<<10) + "\r\n\r\n"}, hello},
	{"R1 short answer", []string{get}, []string{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello<close>"}, []string{get}, "<*><reset>"},
	{"R1 cut chunks", []string{get}, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n<close>"}, []string{get}, "<*><reset>"},
	{"R1 bad chunks", []string{get}, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZ\r\n"}, []string{get}, "<*><reset>"},
	{"R1 reset until close", []string{get}, []string{"HTTP/1.1 200 OK\r\n\r\nhello<reset>"}, []string{get}, "<*>"},
	{"R2 bytes behind an answer", []string{get, get}, []string{hello + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", hello}, []string{get, get}, hello + hello},
	{"malformed answer", []string{get}, []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"}, []string{get}, "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{"no answer to POST", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"}, []string{"<close>"}, []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"}, "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{"head of the answer too large", []string{get}, []string{"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 70<<10) + "\r\n\r\n"}, []string{get}, "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{"head of the answer of 40 KiB", []string{get}, []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: " + strings.Repeat("a", 40<<10) + "\r\n\r\n"}, []string{get},
		"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 40<<10) + "\r\nContent-Length: 0\r\n\r\n"},
	{"early answer", []string{"POST / HTTP/1.1\r\nHost: early\r\nContent-Length: 100000\r\n\r\nhello"}, nil, nil, refused("413 Content Too Large")},
	{"body of 1 MiB", []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n", strings.Repeat("0123456789abcdef", 65536), get}, []string{hello, hello},
		[]string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536), get}, hello + hello},
	{"answer of 1 MiB", []string{get + get}, []string{"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536), hello}, []string{get, get},
		"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536) + hello},
	{"chunked answer of 1 MiB to HTTP/1.0", []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + strings.Repeat("0123456789abcdef", 65536) + "\r\n0\r\n\r\n"}, []string{get},
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536)},
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
