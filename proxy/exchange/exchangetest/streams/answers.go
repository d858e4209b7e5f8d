package streams

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"

	"portico/proxy/exchange/account"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

func answers(t *testing.T, mk rig.Maker) {
	answers := map[string][2]string{
		"/length": {table.Hello, helloHead + "|hello"},
		"/chunks": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", ":status: 200\n|hello"},
		"/close":  {"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello", ":status: 200\nserver: x\n|hello"},
		"/none":   {"HTTP/1.1 204 No\r\n\r\n", ":status: 204\n|"},
		"/same":   {"HTTP/1.1 304 No\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n", ":status: 304\netag: \"a\"\ncontent-length: 7\n|"},
		"/empty":  {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ":status: 200\ncontent-length: 0\n|"},
		"/fields": {"HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n", ":status: 200\nx-b: 2\ncontent-length: 0\n|"},
	}
	h := rig.With(rig.NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		path := strings.Fields(r)[1]
		_, _ = io.WriteString(c, answers[path][0])
		return path != "/close"
	}))
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	for path, a := range answers {
		got := c.Open(true, "GET "+path).Over()
		if s := got.Head + "|" + got.Body; s != a[1] || !got.Ended || got.Reset != "" {
			t.Errorf("%s: got %q %+v, want %q", path, s, got, a[1])
		}
	}
	if got := c.Open(true, "HEAD /length").Over(); got.Head != helloHead || got.Body != "" || !got.Ended {
		t.Errorf("HEAD: %+v", got)
	}
	rig.Eventually(t, "all are recorded", func() bool { return len(h.Records()) == len(answers)+1 })
}

// bodies: with a length and without, in one frame, in many and with an end of its own.
func bodies(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(o)), rig.H2Settings{})
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

func trailers(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always("HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"))
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(o)), rig.H2Settings{})
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

func interim(t *testing.T, mk rig.Maker) {
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(rig.NewOrigin(t, rig.Always("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+table.Hello)))), rig.H2Settings{})
	got := c.Open(true, "GET /").Over()
	if len(got.Interim) != 1 || got.Interim[0] != ":status: 103\nlink: </a>\n" || !isHello(got) {
		t.Errorf("got %+v", got)
	}
}

func continues(t *testing.T, mk rig.Maker) {
	o := rig.NewOrigin(t, rig.Always(table.Hello))
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(o)), rig.H2Settings{})
	s := c.Open(false, "POST /", "content-length: 5", "expect: 100-continue")
	s.Until("100 Continue comes", func(a *rig.H2Answer) bool { return len(a.Interim) == 1 && a.Interim[0] == ":status: 100\n" })
	s.Send([]byte("hello"), true)
	if got := s.Over(); !isHello(got) || len(got.Interim) != 1 {
		t.Errorf("got %+v", got)
	}
}

// early: an answer that does not wait for the body is whole, and ends the body (RFC 9113, 8.1).
func early(t *testing.T, mk rig.Maker) {
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, br *bufio.Reader) {
		rig.ReadHead(br)
		_, _ = io.WriteString(c, table.Hello)
		_, _ = io.Copy(io.Discard, br)
	})
	c, _ := rig.StartH2(t, mk, rig.Options(rig.With(o)), rig.H2Settings{})
	s := c.Open(false, "POST /", "content-length: 1000000")
	s.Send([]byte("some"), false)
	got := s.Until("the body is declined", func(a *rig.H2Answer) bool { return a.Reset != "" })
	if got.Head != helloHead || got.Body != "hello" || !got.Ended || got.Reset != "NO_ERROR" {
		t.Errorf("got %+v", got)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("the next one got %+v", got)
	}
}

// cut: an answer that breaks off shows it, and the other streams go on.
func cut(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.NewOrigin(t, func(_ int, r string, c net.Conn) bool {
		if strings.HasPrefix(r, "GET /cut ") {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
			return false
		}
		_, _ = io.WriteString(c, table.Hello)
		return true
	}))
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	if got := c.Open(true, "GET /cut").Over(); got.Reset != "INTERNAL_ERROR" || got.Ended {
		t.Errorf("got %+v", got)
	}
	if got := c.Open(true, "GET /").Over(); !isHello(got) {
		t.Errorf("the next one got %+v", got)
	}
	rig.Eventually(t, "both are recorded", func() bool { return len(h.Records()) == 2 })
	if r := h.Records(); r[0].Cause != account.CauseUpstream || r[1].Cause != account.CauseNone {
		t.Errorf("records %+v", r)
	}
}
