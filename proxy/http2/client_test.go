package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// dial returns a client of Go's whose connections a server of ours serves.
func dial(t *testing.T, answer func(a *asked) reply) *http.Client {
	t.Helper()
	var wg sync.WaitGroup
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := pair(t)
		s := newServer(t, answer)
		wg.Go(func() {
			s.net(ours)
			s.ends()
		})
		return theirs, nil
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		wg.Wait()
	})
	return &http.Client{Transport: tr}
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if b, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if a, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestClientGetsAnswers(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	c := dial(t, func(a *asked) reply {
		switch string(a.req.Path) {
		case "/big":
			return reply{status: 200, fields: [][2]string{{"X-Kind", "big"}}, body: big}
		case "/echo":
			return reply{status: 200, echo: true}
		case "/trailers":
			return reply{status: 200, fields: [][2]string{{"Trailer", "X-Sum"}}, body: []byte("abc"), trailers: [][2]string{{"X-Sum", "42"}}}
		case "/empty":
			return reply{status: 204}
		case "/heads":
			return reply{status: 200, fields: [][2]string{{"X-Long", strings.Repeat("v", 40<<10)}}, body: []byte("x")}
		}
		return plain(200, string(a.text)+string(a.body))
	})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			get := func(method, path, body string) (*http.Response, string) {
				var rd io.Reader
				if method == "POST" {
					rd = strings.NewReader(body)
				}
				r, _ := http.NewRequest(method, "http://shop.test"+path, rd)
				r.Header.Set("X-Number", fmt.Sprint(i))
				r.AddCookie(&http.Cookie{Name: "a", Value: "1"})
				r.AddCookie(&http.Cookie{Name: "b", Value: "2"})
				res, err := c.Do(r)
				if err != nil {
					t.Error(method, path, err)
					return nil, ""
				}
				b, err := io.ReadAll(res.Body)
				if err != nil {
					t.Error(method, path, err)
				}
				_ = res.Body.Close()
				return res, string(b)
			}
			if _, b := get("GET", "/a?b=c", ""); !strings.HasPrefix(b, "GET /a?b=c HTTP/1.1\r\nhost: shop.test\r\n") || !strings.Contains(b, "cookie: a=1; b=2\r\n") || !strings.HasSuffix(b, "\r\n\r\n") {
				t.Errorf("%q", b)
			}
			if _, b := get("GET", "/big", ""); b != string(big) {
				t.Errorf("%d bytes", len(b))
			}
			up := strings.Repeat("u", rand.IntN(1<<20))
			if _, b := get("POST", "/echo", up); b != up {
				t.Errorf("%d bytes of %d", len(b), len(up))
			}
			if _, b := get("POST", "/up", up[:1000*len(up)/(1<<20)]); !strings.HasSuffix(b, up[:1000*len(up)/(1<<20)]) {
				t.Errorf("%q", b)
			}
			if r, b := get("GET", "/trailers", ""); r != nil && (b != "abc" || r.Trailer.Get("X-Sum") != "42") {
				t.Errorf("%q %v", b, r.Trailer)
			}
			if r, b := get("HEAD", "/empty", ""); r != nil && (b != "" || r.StatusCode != 204) {
				t.Errorf("%q %v", b, r.Trailer)
			}
			if r, b := get("GET", "/heads", ""); r != nil && (b != "x" || len(r.Header.Get("X-Long")) != 40<<10) {
				t.Errorf("%q", b)
			}
		})
	}
	wg.Wait()
}

// FuzzClient: Go's client and our server agree on any mix of requests at once: methods, sizes both ways, trailers both ways, requests
// that are given up. Two bytes of the plan make a request.
func FuzzClient(f *testing.F) {
	f.Add([]byte("\x00\x01\x12\x03\x24\xff\x36\x80\x47\x7f\x58\x00"))
	f.Add(bytes.Repeat([]byte("\x13\xff\x24\xf0\x05\x11"), 20))
	f.Fuzz(func(t *testing.T, plan []byte) {
		if len(plan) > 200 {
			return
		}
		c := dial(t, func(a *asked) reply {
			q := string(a.req.Query)
			size, _ := strconv.Atoi(q)
			if string(a.req.Path) == "/echo" {
				return reply{status: 200, echo: true}
			}
			r := reply{status: 200, body: bytes.Repeat([]byte("y"), size)}
			if string(a.req.Path) == "/trailers" {
				r.fields, r.trailers = [][2]string{{"trailer", "x-sum"}}, [][2]string{{"X-Sum", q}}
			}
			return r
		})
		var wg sync.WaitGroup
		for ; len(plan) >= 2; plan = plan[2:] {
			how, size := plan[0], int(plan[1])*int(plan[1])*4
			wg.Go(func() { ask(t, c, how, size) })
		}
		wg.Wait()
	})
}

// ask makes one request of a plan and checks the answer.
func ask(t *testing.T, c *http.Client, how byte, size int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	method, path := "GET", [...]string{"/", "/trailers", "/echo"}[how%3]
	var body io.Reader
	if path == "/echo" || how&0x10 != 0 {
		method, body = "POST", strings.NewReader(strings.Repeat("y", size))
		if how&0x20 != 0 {
			body = io.MultiReader(body) // of unknown length
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://shop.test%s?%d", path, size), body)
	if err != nil {
		t.Error(err)
		return
	}
	if how&0x40 != 0 && body != nil && size > 0 { // with an empty body, the client forgets its trailers and waits
		r.ContentLength, r.Trailer = -1, http.Header{"X-Mine": {"1"}}
	}
	res, err := c.Do(r)
	if err != nil {
		t.Error(method, path, size, err)
		return
	}
	defer res.Body.Close()
	if how&0x80 != 0 {
		_, _ = io.CopyN(io.Discard, res.Body, int64(size/2))
		return // given up
	}
	b, err := io.ReadAll(res.Body)
	if err != nil || len(b) != size || strings.Trim(string(b), "y") != "" {
		t.Errorf("%s %s: %d bytes of %d, %v", method, path, len(b), size, err)
	}
	if path == "/trailers" && res.Trailer.Get("X-Sum") != fmt.Sprint(size) {
		t.Errorf("trailers: %v", res.Trailer)
	}
}
