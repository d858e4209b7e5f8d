package streams

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

// quiet is a handler that allocates nothing.
type quiet struct{ up *exchange.Upstream }

// Route implements exchange.Handler.
func (q *quiet) Route(_ *http1.Request, _ *exchange.Peer, d *exchange.Decision) { d.Upstream = q.up }

// Hinted implements exchange.Handler.
func (q *quiet) Hinted(*http1.Request, *http1.Response, *exchange.Decision) []byte { return nil }

// Answered implements exchange.Handler.
func (q *quiet) Answered(*http1.Request, *http1.Response, *exchange.Decision) {}

// Failed implements exchange.Handler.
func (q *quiet) Failed(*http1.Request, *exchange.Peer, *exchange.Decision, exchange.Why) {}

// Finished implements exchange.Handler.
func (q *quiet) Finished(*http1.Request, *exchange.Peer, *exchange.Decision) {}

// quietOrigin answers hello to requests with a body of so many bytes, and allocates nothing.
func quietOrigin(t *testing.T, body int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	answer := []byte(table.Hello)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				b := make([]byte, 64<<10)
				for n := 0; ; {
					k, err := c.Read(b[n:])
					if err != nil {
						return
					}
					n += k
					if i := bytes.Index(b[:n], []byte("\r\n\r\n")); i < 0 || n < i+4+body {
						continue
					}
					n = 0
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// quietH2 is a client that allocates nothing: it sends one request again and again.
type quietH2 struct {
	conn    *tls.Conn
	request []byte
	streams []int // where in request the number of its stream stands
	next    uint32
	in      []byte
	r, w    int
	calls   int // of the connection's
}

func dialQuiet(t testing.TB, addr string, pool *x509.CertPool, fields [][2]string, body []byte) *quietH2 {
	t.Helper()
	c, err := openQuiet(addr, pool, fields, body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.conn.Close() })
	return c
}

// openQuiet connects; without a pool it trusts anybody.
func openQuiet(addr string, pool *x509.CertPool, fields [][2]string, body []byte) (*quietH2, error) {
	conn, err := tls.Dial("tcp", addr, &tls.Config{
		RootCAs: pool, ServerName: "a", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12, InsecureSkipVerify: pool == nil, // a test's own
	})
	if err != nil {
		return nil, err
	}
	c := &quietH2{conn: conn, next: 1, in: make([]byte, 64<<10)}
	var block, out bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0)
	for _, f := range fields {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	fr := http2.NewFramer(&out, nil)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: len(body) == 0})
	c.streams = append(c.streams, 5)
	if len(body) > 0 {
		c.streams = append(c.streams, out.Len()+5)
		_ = fr.WriteData(1, true, body)
	}
	c.request = bytes.Clone(out.Bytes())
	out.Reset()
	out.WriteString(http2.ClientPreface)
	_ = fr.WriteSettings()
	_ = fr.WriteSettingsAck()
	_ = fr.WriteWindowUpdate(0, 1<<30)
	_, err = conn.Write(out.Bytes())
	return c, err
}

// round sends the request so often at once, and waits for all answers.
func (c *quietH2) round(streams int) {
	for range streams {
		for _, at := range c.streams {
			binary.BigEndian.PutUint32(c.request[at:], c.next)
		}
		c.next += 2
		c.calls++
		if _, err := c.conn.Write(c.request); err != nil {
			panic(err)
		}
	}
	for streams > 0 {
		kind, flags := c.frame()
		switch {
		case kind == byte(http2.FrameRSTStream), kind == byte(http2.FrameGoAway):
			panic("the connection or a stream of it was ended")
		case kind == byte(http2.FrameData) && flags&byte(http2.FlagDataEndStream) != 0:
			streams--
		}
	}
}

// frame passes over the next one.
func (c *quietH2) frame() (kind, flags byte) {
	c.need(9)
	h := c.in[c.r:]
	length := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	kind, flags = h[3], h[4]
	c.need(9 + length)
	c.r += 9 + length
	return kind, flags
}

func (c *quietH2) need(n int) {
	for c.w-c.r < n {
		if c.r > 0 {
			c.w = copy(c.in, c.in[c.r:c.w])
			c.r = 0
		}
		c.calls++
		k, err := c.conn.Read(c.in[c.w:])
		if err != nil {
			panic(err)
		}
		c.w += k
	}
}

var quietGet = [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"user-agent", "test"}, {"accept", "*/*"}}

// RunQuiet holds that a request over HTTP/2 allocates nothing once its connection is warm, with and without a body, alone and beside
// others.
func RunQuiet(t *testing.T, mk rig.Maker) {
	body := []byte(strings.Repeat("b", 1000))
	get := quietGet
	post := [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"user-agent", "test"}}
	length := [2]string{"content-length", strconv.Itoa(len(body))}
	for name, test := range map[string]struct {
		fields  [][2]string
		body    []byte
		origin  int
		streams int
		h2c     bool
	}{
		"none":            {get, nil, 0, 1, false},
		"length":          {append(post[:len(post):len(post)], length), body, len(body), 1, false},
		"unbounded":       {post, body, len("3e8\r\n") + len(body) + len("\r\n0\r\n\r\n"), 1, false},
		"ten streams":     {get, nil, 0, 10, false},
		"none h2c":        {get, nil, 0, 1, true},
		"unbounded h2c":   {post, body, 0, 1, true},
		"ten streams h2c": {get, nil, 0, 10, true},
		"ten uploads h2c": {post, body, 0, 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			ln, pool := rig.H2Listener(t)
			q := &quiet{up: &exchange.Upstream{HTTP2: test.h2c}}
			if test.h2c {
				q.up.Addr = quietOrigin2(t)
			} else {
				q.up.Addr = quietOrigin(t, test.origin)
			}
			addr, _ := rig.Start(t, mk, exchange.Options{Config: exchange.Config{Handler: q}, Listeners: []exchange.Listener{ln}})
			c := dialQuiet(t, addr, pool, test.fields, test.body)
			for range 200 {
				c.round(test.streams)
			}
			const rounds = 1000
			var before, after runtime.MemStats
			calls := c.calls
			runtime.ReadMemStats(&before)
			for range rounds {
				c.round(test.streams)
			}
			runtime.ReadMemStats(&after)
			// crypto/tls allocates once for each read from the network, at both ends. What grows once, and what the collector's own
			// goroutines take, is not quite nothing.
			if all := int(after.Mallocs - before.Mallocs); all > c.calls-calls+rounds*test.streams/4 {
				t.Errorf("%d allocations for %d requests, of which crypto/tls made %d at most", all, rounds*test.streams, c.calls-calls)
			}
		})
	}
}
