package http1_test

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"

	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

func TestParseResponseRefuses(t *testing.T) {
	for _, c := range table.Cases {
		if c.Fault == http1.NoFault || len(c.Answer) == 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			head, fault := scan(t, c.Answer[0])
			if fault == http1.NoFault {
				fault = http1.ParseResponse(new(http1.Response), head, &limits)
			}
			if fault != c.Fault {
				t.Errorf("got %v, want %v", fault, c.Fault)
			}
		})
	}
}

func TestParseResponseAccepts(t *testing.T) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 200 \r\nA: b\r\n\r\n", "HTTP/1.1 200\r\nA: b\r\n\r\n", "HTTP/1.0 404 Not Found\r\n\r\n",
		"HTTP/1.1 200 \xfcber\r\n\r\n",
	} {
		head, _ := scan(t, raw)
		var r http1.Response
		if fault := http1.ParseResponse(&r, head, &limits); fault != http1.NoFault {
			t.Errorf("%q: %v", raw, fault)
		}
	}
}

// FuzzResponse holds the parser against the standard library's.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 404\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 304 Not Modified\r\nContent-Length: 7\r\n\r\n"))
	for _, c := range table.Cases {
		for _, s := range c.Answer {
			if len(s) < table.SeedMost {
				f.Add([]byte(s))
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		end, _, fault := http1.ScanHead(raw, 0)
		if fault != http1.NoFault || end == 0 {
			return
		}
		var r http1.Response
		if http1.ParseResponse(&r, raw[:end], &limits) != http1.NoFault {
			return
		}
		std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw[:end])), &http.Request{Method: "GET"})
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", raw[:end], err)
		}
		if std.StatusCode != r.Status || r.Chunked != (len(std.TransferEncoding) == 1) && r.Status >= 200 && r.Status != 204 && r.Status != 304 {
			t.Fatalf("unlike: %q", raw[:end])
		}
		if r.Length > 0 && std.ContentLength != r.Length && r.Status >= 200 && r.Status != 204 && r.Status != 304 {
			t.Fatalf("lengths unlike: %q: %d %d", raw[:end], r.Length, std.ContentLength)
		}
	})
}
