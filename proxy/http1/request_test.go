package http1_test

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
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
	for _, c := range table.Cases {
		if c.Fault == http1.NoFault || len(c.Answer) > 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			if _, fault := parseRequest(t, c.Send[0]); fault != c.Fault {
				t.Errorf("got %d %v, want %d %v", fault, fault, c.Fault, c.Fault)
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
	e := &http1.Edits{StripCookie: "portico-shop", BarCookie: "__Host-portico-admin", Client: []byte("192.0.2.1")}
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
	for _, c := range table.Cases {
		if s := strings.Join(c.Send, ""); len(s) < table.SeedMost {
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
