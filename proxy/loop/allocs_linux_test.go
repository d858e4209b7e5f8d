package loop_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/tests/support/race"
)

// TestStreamsAllocateNothing: a request on a connection that has served some allocates nothing, with and without a body, alone and several
// at a time. What crypto/tls allocates is not counted: one small object for each read that finds something, whatever the protocol.
func TestStreamsAllocateNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates; make test runs this without it")
	}
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	for name, tt := range map[string]struct{ body, streams int }{
		"no body": {0, 1}, "body": {1000, 1}, "together": {0, 20}, "bodies together": {1000, 20},
	} {
		t.Run(name, func(t *testing.T) {
			up := &exchange.Upstream{Addr: quiet(t, tt.body)}
			ln, pool := rig.H2Listener(t)
			addr, _ := rig.Start(t, loops(1), exchange.Options{Config: exchange.Config{Handler: &mixer{up: up}}, Listeners: []exchange.Listener{ln}})
			c := newSparse(t, addr, pool, tt.body)
			for range 50 {
				c.round(tt.streams)
			}
			rounds := 2000 / tt.streams
			before := allocated()
			for range rounds {
				c.round(tt.streams)
			}
			if each := float64(allocated()-before) / float64(rounds*tt.streams); each > 0.1 { // the runtime's own, now and then
				t.Errorf("%.2f allocations a request", each)
			}
		})
	}
}

// allocated is how many objects were allocated until now since the profile began, but those that crypto/tls makes to read and our own.
func allocated() int64 {
	runtime.GC() // the profile is as old as the collection before the last
	runtime.GC()
	list := make([]runtime.MemProfileRecord, 20_000)
	n, _ := runtime.MemProfile(list, true)
	sum := int64(0)
	for i := range list[:n] {
		if !exempt(list[i].Stack()) {
			sum += list[i].AllocObjects
		}
	}
	return sum
}

func exempt(stack []uintptr) bool {
	frames := runtime.CallersFrames(stack)
	for {
		f, more := frames.Next()
		if f.Function == "crypto/tls.(*Conn).readFromUntil" || strings.HasSuffix(f.Function, "loop_test.allocated") {
			return true
		}
		if !more {
			return false
		}
	}
}

// quiet answers requests with bodies of so many bytes without allocating.
func quiet(t *testing.T, size int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				b, have := make([]byte, 64<<10), 0
				for {
					n, err := c.Read(b[have:])
					if err != nil {
						return
					}
					have += n
					end := bytes.Index(b[:have], []byte("\r\n\r\n"))
					if end < 0 {
						continue
					}
					for have -= end + 4; have < size; have += n {
						if n, err = c.Read(b); err != nil {
							return
						}
					}
					have = 0
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// sparse is a client that allocates nothing either. It takes all windows for large enough.
type sparse struct {
	t    *testing.T
	c    *tls.Conn
	head []byte // a HEADERS frame
	data []byte // DATA frames
	next uint32
	in   []byte
	have int
}

func newSparse(t *testing.T, addr string, pool *x509.CertPool, body int) *sparse {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "a", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	var block, out bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSize(0)
	method := "GET"
	if body > 0 {
		method = "POST"
	}
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}, {"user-agent", "test"}} {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(&out, nil)
	_ = f.WriteSettings()
	_, _ = out.WriteTo(c)
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: body == 0, EndHeaders: true})
	s := &sparse{t: t, c: c, head: bytes.Clone(out.Bytes()), next: 1, in: make([]byte, 64<<10)}
	out.Reset()
	for left := body; left > 0; left -= 10_000 {
		n := min(left, 10_000)
		_ = f.WriteData(1, n == left, []byte(strings.Repeat("b", n)))
	}
	s.data = bytes.Clone(out.Bytes())
	return s
}

// round makes so many requests at a time and waits for their answers.
func (s *sparse) round(streams int) {
	first := s.next
	for range streams {
		binary.BigEndian.PutUint32(s.head[5:], s.next)
		s.write(s.head)
		s.next += 2
	}
	ended := 0
	for at := 0; at < len(s.data); { // the bodies, a frame of each in turn
		frame := s.data[at : at+9+int(s.data[at])<<16+int(binary.BigEndian.Uint16(s.data[at+1:]))]
		at += len(frame)
		for id := first; id < s.next; id += 2 {
			binary.BigEndian.PutUint32(frame[5:], id)
			s.write(frame)
		}
	}
	for ended < streams {
		ended += s.take()
	}
}

func (s *sparse) write(b []byte) {
	if _, err := s.c.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// take reads some frames and returns how many streams have ended with them.
func (s *sparse) take() int {
	n, err := s.c.Read(s.in[s.have:])
	if err != nil {
		s.t.Fatal(err)
	}
	s.have += n
	ended, b := 0, s.in[:s.have]
	for len(b) >= 9 {
		size := int(b[0])<<16 + int(binary.BigEndian.Uint16(b[1:]))
		if len(b) < 9+size {
			break
		}
		kind, flags := http2.FrameType(b[3]), b[4]
		switch kind {
		case http2.FrameRSTStream, http2.FrameGoAway:
			s.t.Fatalf("%v", b[:9+size])
		case http2.FrameData:
			ended += int(flags & 1)
		}
		b = b[9+size:]
	}
	s.have = copy(s.in, b)
	return ended
}
