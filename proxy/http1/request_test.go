package http1_test

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"portico/proxy/http1"
	"portico/proxy/http1/http1test"
)

var limits = http1.Limits{}.WithDefaults()

func scan(t testing.TB, raw string) (head []byte, fault http1.Fault) {
	t.Helper()
	end, _, fault := http1.ScanHead([]byte(raw), 0)
	if fault != http1.NoFault {
		return nil, fault
	}
	if end == 0 {
		t.Fatalf("head of %q is incomplete", raw)
	}
	return []byte(raw)[:end], http1.NoFault
}

func parseRequest(t testing.TB, raw string) (*http1.Request, http1.Fault) {
	t.Helper()
	head, fault := scan(t, raw)
	if fault != http1.NoFault {
		return nil, fault
	}
	r := new(http1.Request)
	return r, http1.ParseRequest(r, head, &limits)
}

func TestParseRequestRefuses(t *testing.T) {
	const host = "Host: a\r\n"
	for _, c := range []struct {
		name, raw string
		want      http1.Fault
	}{
		{"P1 both lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", http1.FaultTwoLengths},
		{"P1 both, other order", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", http1.FaultTwoLengths},
		{"P2 unlike lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", http1.FaultTwoLengths},
		{"P2 like lengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", http1.FaultTwoLengths},
		{"P3 sign", "POST / HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\n", http1.FaultLength},
		{"P3 two numbers", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5 5\r\n\r\n", http1.FaultLength},
		{"P3 list", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n\r\n", http1.FaultLength},
		{"P3 empty, CVE-2023-40225", "POST / HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\n", http1.FaultLength},
		{"P3 overflow", "POST / HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551616\r\n\r\n", http1.FaultLength},
		{"P3 NUL", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\x00\r\n\r\n", http1.FaultValue},
		{"P3 hex", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x5\r\n\r\n", http1.FaultLength},
		{"P4 gzip, chunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", http1.FaultCoding},
		{"P4 chunked twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", http1.FaultCoding},
		{"P4 xchunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n", http1.FaultCoding},
		{"P4 identity", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n", http1.FaultCoding},
		{"P4 empty", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding:\r\n\r\n", http1.FaultCoding},
		{"P4 vertical tab", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: \x0bchunked\r\n\r\n", http1.FaultValue},
		{"P5 space before colon", "GET / HTTP/1.1\r\n" + host + "A : b\r\n\r\n", http1.FaultName},
		{"P5 tab before colon", "GET / HTTP/1.1\r\n" + host + "A\t: b\r\n\r\n", http1.FaultName},
		{"P6 fold", "GET / HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n", http1.FaultFold},
		{"P6 fold with tab", "GET / HTTP/1.1\r\n" + host + "A: b\r\n\tContent-Length: 3\r\n\r\n", http1.FaultFold},
		{"P6 first line folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", http1.FaultFold},
		{"P7 bare CR in value", "GET / HTTP/1.1\r\n" + host + "A: b\rc\r\n\r\n", http1.FaultBareCR},
		{"P7 CR CR LF", "GET / HTTP/1.1\r\n" + host + "A: b\r\r\n\r\n", http1.FaultBareCR},
		{"P7 bare CR in name", "GET / HTTP/1.1\r\n" + host + "A\rb: c\r\n\r\n", http1.FaultName},
		{"P7 bare LF", "GET / HTTP/1.1\nHost: a\n\n", http1.FaultBareLF},
		{"P7 bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", http1.FaultBareLF},
		{"P10 HTTP/1.0 with coding", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", http1.FaultCoding},
		{"P11 space", "GET /a b HTTP/1.1\r\n" + host + "\r\n", http1.FaultLine},
		{"P11 two spaces", "GET  / HTTP/1.1\r\n" + host + "\r\n", http1.FaultLine},
		{"P11 tab", "GET\t/ HTTP/1.1\r\n" + host + "\r\n", http1.FaultMethod},
		{"P11 control", "GET /\x01 HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P11 NUL", "GET /\x00 HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P11 DEL", "GET /\x7f HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P11 fragment, CVE-2023-45539", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P11 fragment in query", "GET /a?b#c HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P11 UTF-8", "GET /\xc3\xa4 HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P11 backslash", "GET /a\\..\\b HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"no slash", "GET a HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P12 another authority", "GET http://b/ HTTP/1.1\r\n" + host + "\r\n", http1.FaultTwoHosts},
		{"P12 user information", "GET http://u@a/ HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P12 another scheme", "GET ftp://a/ HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P12 empty authority", "GET http:///x HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P13 CONNECT", "CONNECT a:443 HTTP/1.1\r\n" + host + "\r\n", http1.FaultNotAllowed},
		{"P13 TRACE", "TRACE / HTTP/1.1\r\n" + host + "\r\n", http1.FaultNotAllowed},
		{"P13 asterisk", "GET * HTTP/1.1\r\n" + host + "\r\n", http1.FaultTarget},
		{"P14 no Host", "GET / HTTP/1.1\r\n\r\n", http1.FaultNoHost},
		{"P14 two Hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", http1.FaultTwoHosts},
		{"P15 slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", http1.FaultHost},
		{"P15 at", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", http1.FaultHost},
		{"P15 space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", http1.FaultHost},
		{"P15 two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", http1.FaultHost},
		{"P15 big port", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", http1.FaultHost},
		{"P15 comma", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", http1.FaultHost},
		{"P15 percent", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", http1.FaultHost},
		{"P15 empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", http1.FaultHost},
		{"P15 behind bracket", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", http1.FaultHost},
		{"empty name, CVE-2023-25725", "GET / HTTP/1.1\r\n" + host + ": x\r\n\r\n", http1.FaultName},
		{"no colon", "GET / HTTP/1.1\r\n" + host + "abc\r\n\r\n", http1.FaultName},
		{"version 2", "GET / HTTP/2.0\r\n" + host + "\r\n", http1.FaultVersion},
		{"version 1.2", "GET / HTTP/1.2\r\n" + host + "\r\n", http1.FaultVersion},
		{"version in lower case", "GET / http/1.1\r\n" + host + "\r\n", http1.FaultLine},
		{"HTTP/0.9", "GET /\r\n\r\n", http1.FaultLine},
		{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\n", http1.FaultVersion},
		{"expectation", "POST / HTTP/1.1\r\n" + host + "Expect: 200-ok\r\n\r\n", http1.FaultExpect},
		{"Connection", "GET / HTTP/1.1\r\n" + host + "Connection: a b\r\n\r\n", http1.FaultConnection},
		{"P23 fields", "GET / HTTP/1.1\r\n" + host + strings.Repeat("A: b\r\n", 100) + "\r\n", http1.FaultFields},
		{"P23 line", "GET /" + strings.Repeat("a", 8192) + " HTTP/1.1\r\n" + host + "\r\n", http1.FaultLineLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, fault := parseRequest(t, c.raw); fault != c.want {
				t.Errorf("got %d %v, want %d %v", fault, fault, c.want, c.want)
			}
		})
	}
}

func TestParseRequestAccepts(t *testing.T) {
	for _, c := range []struct {
		name, raw          string
		path, query, host  string
		length             int64
		chunked, keepAlive bool
	}{
		{"plain", "GET /a/b?c=d HTTP/1.1\r\nHost: a.test\r\n\r\n", "/a/b", "c=d", "a.test", -1, false, true},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "/", "", "a", -1, false, false},
		{"HTTP/1.0 kept alive", "GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", "/", "", "a", -1, false, true},
		{"closing", "GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, CLOSE\r\n\r\n", "/", "", "a", -1, false, false},
		{"length", "POST / HTTP/1.1\r\nHost: a\r\ncontent-length:007\r\n\r\n", "/", "", "a", 7, false, true},
		{"chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked \r\n\r\n", "/", "", "a", -1, true, true},
		{"absolute", "GET http://A.test:80/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "/x", "", "a.test", -1, false, true},
		{"absolute without path", "GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", "", "x", "a", -1, false, true},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", "", "a", -1, false, true},
		{"IPv6", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "/", "", "[::1]:8080", -1, false, true},
		{"value with obs-text and tab", "GET / HTTP/1.1\r\nHost: a\r\nA: \tb\tc\xff\r\n\r\n", "/", "", "a", -1, false, true},
		{"P17 encoded path", "GET /%2e%2e/%2F?%00 HTTP/1.1\r\nHost: a\r\n\r\n", "/%2e%2e/%2F", "%00", "a", -1, false, true},
		{"query with backslash", "GET /?a\\|{} HTTP/1.1\r\nHost: a\r\n\r\n", "/", "a\\|{}", "a", -1, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, fault := parseRequest(t, c.raw)
			if fault != http1.NoFault {
				t.Fatal(fault)
			}
			if string(r.Path) != c.path || string(r.Query) != c.query || string(r.Host) != c.host || r.Length != c.length ||
				r.Chunked != c.chunked || r.KeepAlive != c.keepAlive {
				t.Errorf("got path %q query %q host %q length %d chunked %v keep-alive %v", r.Path, r.Query, r.Host, r.Length, r.Chunked, r.KeepAlive)
			}
		})
	}
}

func TestAppendRequest(t *testing.T) {
	const head = "GET /a?b HTTP/1.1\r\nHost: a\r\n"
	for _, c := range []struct{ name, fields, want string }{
		{"as it stands", "Accept: x\r\nB: y\r\n", "Accept: x\r\nB: y\r\n"},
		{"white space normalised", "Accept:x\r\nB:  y \r\nC: z\r\n", "Accept: x\r\nB: y\r\nC: z\r\n"},
		{"P18 hop-by-hop", "Keep-Alive: 5\r\nA: b\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: x\r\n", "A: b\r\n"},
		{"P18 named", "Connection: close, A, x-b\r\nA: b\r\nX-B: c\r\nC: d\r\n", "C: d\r\n"},
		{"P18 never stripped, CVE-2021-33197", "Connection: Host, Authorization, Cookie, Content-Length\r\nAuthorization: b\r\nCookie: c=d\r\n", "Authorization: b\r\nCookie: c=d\r\n"},
		{"P19 underscore and forwarding fields", "X_Forwarded_For: 1\r\nForwarded: for=1\r\nX-Real-IP: 1\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Anything: 1\r\nPortico-Session-Lost: 1\r\nA: b\r\n", "A: b\r\n"},
		{"K5 cookie removed", "Cookie: a=b; portico-shop=x|y; c=d\r\n", "Cookie: a=b; c=d\r\n"},
		{"K5 only cookie removed", "Cookie: portico-shop=x\r\nA: b\r\n", "A: b\r\n"},
		{"K5 doubled cookie removed", "Cookie: portico-shop=x; portico-shop=y; b\r\n", "Cookie: b\r\n"},
		{"K5 like name stays", "Cookie: xportico-shop=x; portico-shop2=y\r\n", "Cookie: xportico-shop=x; portico-shop2=y\r\n"},
		{"expectation dropped", "Expect: 100-continue\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, fault := parseRequest(t, head+c.fields+"\r\n")
			if fault != http1.NoFault {
				t.Fatal(fault)
			}
			got := http1.AppendRequest(nil, r, &http1.Edits{StripCookie: "portico-shop", Client: []byte("192.0.2.1")}, false, nil)
			want := "GET /a?b HTTP/1.1\r\nHost: a\r\n" + c.want + "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n"
			if string(got) != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestForwardedForEndsWithThePeer(t *testing.T) {
	r, _ := parseRequest(t, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nConnection: x-forwarded-for\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n\r\n")
	got := string(http1.AppendRequest(nil, r, &http1.Edits{Client: []byte("9.9.9.9"), HTTPS: true}, false, nil))
	if !strings.Contains(got, "\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 9.9.9.9\r\nX-Forwarded-Proto: https\r\n") {
		t.Errorf("got %q", got)
	}
}

func TestCookie(t *testing.T) {
	r, _ := parseRequest(t, "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1;s=2\r\nCookie: ss=3; s=4\r\n\r\n")
	if v, n := r.Cookie("s"); string(v) != "2" || n != 2 {
		t.Errorf("got %q %d", v, n)
	}
	if v, n := r.Cookie("x"); v != nil || n != 0 {
		t.Errorf("got %q %d", v, n)
	}
}

func TestParseRequestAllocatesNothing(t *testing.T) {
	raw := []byte("GET /shop/cart?x=1 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: bench/1.0 (like a browser, really)\r\nAccept: */*\r\n" +
		"Accept-Encoding: gzip\r\nCookie: a=b; portico-shop=abcdefghij|abc|seal\r\nConnection: keep-alive\r\n\r\n")
	r := new(http1.Request)
	out := make([]byte, 0, 4096)
	e := &http1.Edits{StripCookie: "portico-shop", Client: []byte("192.0.2.1")}
	n := testing.AllocsPerRun(100, func() {
		end, _, _ := http1.ScanHead(raw, 0)
		if f := http1.ParseRequest(r, raw[:end], &limits); f != http1.NoFault {
			t.Fatal(f)
		}
		r.Cookie("portico-shop")
		out = http1.AppendRequest(out[:0], r, e, false, nil)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	raw := []byte("GET /shop/cart?x=1 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: bench/1.0 (like a browser, really)\r\nAccept: */*\r\n" +
		"Accept-Encoding: gzip\r\nCookie: a=b; portico-shop=abcdefghij|abc|seal\r\nConnection: keep-alive\r\n\r\n")
	r := new(http1.Request)
	out := make([]byte, 0, 4096)
	e := &http1.Edits{StripCookie: "portico-shop", Client: []byte("192.0.2.1")}
	b.ReportAllocs()
	for b.Loop() {
		end, _, _ := http1.ScanHead(raw, 0)
		http1.ParseRequest(r, raw[:end], &limits)
		r.Cookie("portico-shop")
		out = http1.AppendRequest(out[:0], r, e, false, nil)
	}
}

// FuzzRequest holds the parser against the standard library's: what we accept, it must accept and understand alike, before and
// after rewriting.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\nCookie: a=b\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\n\r\n",
		"GET http://a/b HTTP/1.1\r\nHost: A\r\nConnection: close, x\r\nX: y\r\n\r\n",
		"OPTIONS * HTTP/1.0\r\nHost: [::1]\r\nX_y: z\r\nExpect: 100-continue\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	for _, c := range http1test.Cases {
		if s := strings.Join(c.Send, ""); len(s) < seedMost {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		end, _, fault := http1.ScanHead(raw, 0)
		if fault != http1.NoFault || end == 0 {
			return
		}
		var r http1.Request
		if http1.ParseRequest(&r, raw[:end], &limits) != http1.NoFault {
			return
		}
		agree(t, &r, raw[:end])
		out := http1.AppendRequest(nil, &r, &http1.Edits{StripCookie: "a", Client: []byte("192.0.2.1")}, false, nil)
		std := agree(t, nil, out)
		if r.Length > 0 && std.ContentLength != r.Length || r.Chunked != (len(std.TransferEncoding) == 1) {
			t.Fatalf("framing changed: %q -> %q", raw[:end], out)
		}
		var again http1.Request
		if f := http1.ParseRequest(&again, out, &limits); f != http1.NoFault && f != http1.FaultFields && f != http1.FaultLineLong {
			t.Fatalf("our own head is refused: %v: %q", f, out)
		}
	})
}

func agree(t *testing.T, r *http1.Request, head []byte) *http.Request {
	t.Helper()
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		if r != nil && (strings.Contains(err.Error(), "invalid URL") || strings.Contains(err.Error(), "parse ")) {
			t.Skip("net/url is stricter about percent signs and ports, which we pass on")
		}
		if strings.Contains(err.Error(), "parse ") {
			t.Skip()
		}
		t.Fatalf("net/http refuses %q: %v", head, err)
	}
	if r == nil {
		return std
	}
	if std.Method != string(r.Method) || !strings.EqualFold(std.Host, string(r.Host)) && !strings.HasPrefix(string(r.Target), "http") {
		t.Fatalf("unlike: %q: %s %q", head, std.Method, std.Host)
	}
	if r.Chunked != (len(std.TransferEncoding) == 1) || r.Length > 0 && strconv.FormatInt(r.Length, 10) != strconv.FormatInt(std.ContentLength, 10) {
		t.Fatalf("framing unlike: %q", head)
	}
	return std
}
