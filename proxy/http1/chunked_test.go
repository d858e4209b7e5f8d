package http1_test

import (
	"bytes"
	"io"
	"net/http/httputil"
	"strings"
	"testing"

	"portico/proxy/http1"
)

// decode feeds body in pieces of n bytes and returns the data, the trailer section and what was left over.
func decode(body []byte, n int) (data, trailer, rest []byte, fault http1.Fault, done bool) {
	var c http1.Chunked
	var in []byte
	for len(body) > 0 || len(in) > 0 {
		k := min(n, len(body))
		in = append(in, body[:k]...)
		body = body[k:]
		for !c.Done() {
			skip, m, tr, fault := c.Next(in, &limits)
			if fault != http1.NoFault {
				return data, nil, nil, fault, false
			}
			data = append(data, in[skip:skip+m]...)
			if tr != nil {
				trailer = bytes.Clone(tr)
			}
			in = in[skip+m:]
			if skip+m == 0 {
				break
			}
		}
		if c.Done() {
			return data, trailer, append(in, body...), http1.NoFault, true
		}
		if k == 0 {
			break
		}
	}
	return data, nil, nil, http1.NoFault, false
}

func TestChunked(t *testing.T) {
	for _, c := range []struct {
		name, in, data, trailer, rest string
		fault                         http1.Fault
	}{
		{"one", "5\r\nhello\r\n0\r\n\r\nGET", "hello", "\r\n", "GET", 0},
		{"two", "5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n", "hello!", "\r\n", "", 0},
		{"leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello", "\r\n", "", 0},
		{"upper case", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", "\r\n", "", 0},
		{"trailers", "0\r\nA: b\r\nC: d\r\n\r\nx", "", "A: b\r\nC: d\r\n\r\n", "x", 0},
		{"P8 no digits", "\r\n", "", "", "", http1.FaultChunk},
		{"P8 sign", "+5\r\nhello\r\n", "", "", "", http1.FaultChunk},
		{"P8 prefix", "0x5\r\nhello\r\n", "", "", "", http1.FaultChunk},
		{"P8 negative", "-1\r\n", "", "", "", http1.FaultChunk},
		{"space", "5 \r\nhello\r\n0\t \r\n\r\n", "hello", "\r\n", "", 0},
		{"space before an extension", "5 ;a=b\r\nhello\r\n0\t;c = \"d e\"\r\n\r\n", "hello", "\r\n", "", 0},
		{"P8 digit behind a space", "5 5\r\nhello\r\n", "", "", "", http1.FaultChunk},
		{"P8 leading space", " 5\r\nhello\r\n", "", "", "", http1.FaultChunk},
		{"P8 64 bits", "10000000000000005\r\nhello\r\n", "", "", "", http1.FaultChunk},
		{"P8 bare LF, CVE-2025-22871", "5\nhello\r\n0\r\n\r\n", "", "", "", http1.FaultChunk},
		{"P8 LF in extension", "5;a\nhello\r\n0\r\n\r\n", "", "", "", http1.FaultChunk},
		{"P8 CR in extension", "5;a\rb\r\nhello\r\n", "", "", "", http1.FaultChunk},
		{"P8 missing CRLF", "5\r\nhello0\r\n\r\n", "hello", "", "", http1.FaultChunk},
		{"P8 LF after data", "5\r\nhello\n0\r\n\r\n", "hello", "", "", http1.FaultChunk},
		{"P24 extensions, CVE-2023-39326", strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 10) + "0\r\n\r\n", "aaaa", "", "", http1.FaultChunkExtra},
		{"P24 trailers", "0\r\n" + strings.Repeat("A: bcdefgh\r\n", 1000) + "\r\n", "", "", "", http1.FaultTrailers},
		{"bare LF in trailer", "0\r\nA: b\n\r\n", "", "", "", http1.FaultBareLF},
		{"bare CR in trailer", "0\r\n\rX", "", "", "", http1.FaultTrailers},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, 1 << 20} {
				data, trailer, rest, fault, _ := decode([]byte(c.in), n)
				if fault != c.fault || string(data) != c.data || string(trailer) != c.trailer || string(rest) != c.rest {
					t.Errorf("by %d: got %q %q %q %v", n, data, trailer, rest, fault)
				}
			}
		})
	}
}

func TestTrailersThatTravel(t *testing.T) {
	var h http1.Head
	got, fault := http1.AppendTrailers(nil, &h, []byte("A: b\r\nX_Y: z\r\nAuthorization: x\r\nSet-Cookie: x\r\nX-Forwarded-For: x\r\nConnection: x\r\nSec-A: x\r\nsec-a: x\r\nSEC-A: x\r\naccess-Control-a: x\r\naGE: 1\r\nC:d\r\n\r\n"), &limits)
	if fault != http1.NoFault || string(got) != "A: b\r\nC: d\r\n\r\n" {
		t.Errorf("got %q %v", got, fault)
	}
	for _, bad := range []string{"Content-Length: 3\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n", "Host: b\r\n\r\n", " A: b\r\n\r\n", "A : b\r\n\r\n"} {
		if _, fault := http1.AppendTrailers(nil, &h, []byte(bad), &limits); fault != http1.FaultTrailers {
			t.Errorf("%q: %v", bad, fault)
		}
	}
}

// FuzzChunked: however the input is cut, the outcome is the same, and what we accept the standard library reads alike.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), 3)
	f.Add([]byte("5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\nrest"), 1)
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		data, trailer, rest, fault, done := decode(in, 1<<20)
		d2, t2, r2, f2, done2 := decode(in, max(n&63, 1))
		if done != done2 || done && (!bytes.Equal(data, d2) || !bytes.Equal(trailer, t2) || !bytes.Equal(rest, r2)) {
			t.Fatalf("cut by %d: %q %q %q %v, whole: %q %q %q %v", n, d2, t2, r2, f2, data, trailer, rest, fault)
		}
		if !done {
			return
		}
		std, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in)))
		if err != nil || !bytes.Equal(std, data) {
			t.Fatalf("standard library: %q %v, ours %q", std, err, data)
		}
	})
}
