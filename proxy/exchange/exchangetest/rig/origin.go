package rig

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"portico/proxy/exchange"
)

// Origin is a scripted upstream: it reads whole requests and answers each with what Answer returns.
type Origin struct {
	ln     net.Listener
	answer func(n int, request string, c net.Conn) bool // reports whether the connection goes on

	mu       sync.Mutex
	requests []string // raw, in order of completion
	conns    map[net.Conn]bool
	accepted int
	wg       sync.WaitGroup
}

// NewOrigin starts an origin. answer writes to c itself.
func NewOrigin(t testing.TB, answer func(n int, request string, c net.Conn) bool) *Origin {
	t.Helper()
	return NewOriginOn(t, listen(t), answer)
}

// NewOriginOn is NewOrigin on a listener.
func NewOriginOn(t testing.TB, ln net.Listener, answer func(n int, request string, c net.Conn) bool) *Origin {
	o := &Origin{ln: ln, answer: answer, conns: make(map[net.Conn]bool)}
	o.wg.Go(o.accept)
	t.Cleanup(o.Close)
	return o
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// Close ends it and all its connections.
func (o *Origin) Close() {
	_ = o.ln.Close()
	o.mu.Lock()
	for c := range o.conns {
		_ = c.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

// Addr is where it listens.
func (o *Origin) Addr() string { return o.ln.Addr().String() }

// Listener is what it listens with.
func (o *Origin) Listener() net.Listener { return o.ln }

// Open is how many connections to it are open.
func (o *Origin) Open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

// Requests returns what was read, whole requests only.
func (o *Origin) Requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.requests...)
}

// Accepted is how many connections were made to it.
func (o *Origin) Accepted() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.accepted
}

func (o *Origin) accept() {
	for {
		c, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns[c] = true
		o.accepted++
		o.mu.Unlock()
		o.wg.Go(func() { o.serve(c) })
	}
}

func (o *Origin) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		o.mu.Lock()
		delete(o.conns, c)
		o.mu.Unlock()
	}()
	br := bufio.NewReader(c)
	for {
		r, err := ReadRequest(br, c)
		if err != nil {
			return
		}
		o.mu.Lock()
		o.requests = append(o.requests, r)
		n := len(o.requests)
		o.mu.Unlock()
		if !o.answer(n, r, c) {
			return
		}
	}
}

// ReadRequest reads one request, raw, with its body. It answers an expectation with 100 Continue.
func ReadRequest(br *bufio.Reader, c io.Writer) (string, error) {
	var b strings.Builder
	length, chunked, expect := 0, false, false
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		if line == "\r\n" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "content-length":
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		case "transfer-encoding":
			chunked = true
		case "expect":
			expect = true
		}
	}
	if expect && c != nil {
		_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if !chunked {
		_, err := io.CopyN(&b, br, int64(length))
		return b.String(), err
	}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return "", err
		}
		if n > 0 {
			if _, err := io.CopyN(&b, br, n+2); err != nil {
				return "", err
			}
			continue
		}
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return "", err
			}
			b.WriteString(line)
			if line == "\r\n" {
				return b.String(), nil
			}
		}
	}
}

// Always answers every request with text.
func Always(text string) func(int, string, net.Conn) bool {
	return func(_ int, _ string, c net.Conn) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

// Post is the head of a request with a body of five bytes, but for its empty line.
const Post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"

// NewRawOrigin hands each connection to serve.
func NewRawOrigin(t *testing.T, serve func(n int, c net.Conn, br *bufio.Reader)) *Origin {
	t.Helper()
	ln := listen(t)
	o := &Origin{ln: ln, conns: make(map[net.Conn]bool)}
	o.wg.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns[c] = true
			o.accepted++
			o.mu.Unlock()
			o.wg.Go(func() {
				defer func() { _ = c.Close() }()
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(o.Close)
	return o
}

// ReadHead reads a head with its empty line, or what there is of one.
func ReadHead(br *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

// ClosedPort is an upstream that takes no connections.
func ClosedPort(t *testing.T) *exchange.Upstream {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return &exchange.Upstream{Addr: ln.Addr().String()}
}
