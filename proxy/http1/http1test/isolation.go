package http1test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// isolation is the property that matters most: no byte of one client reaches another, whatever closes, resets, dawdles, pipelines
// or is retried.
func isolation(t *testing.T, mk New) {
	serve := func(n int, c net.Conn, br *bufio.Reader) {
		r := rand.New(rand.NewPCG(uint64(n), 7))
		for {
			req, err := ReadRequest(br, nil)
			if err != nil {
				return
			}
			if !answerIsolated(r, c, req) {
				return
			}
		}
	}
	h := with(rawOrigin(t, serve), rawOrigin(t, serve))
	opt := options(h)
	addr, d := Start(t, mk, opt)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for n := range 25 {
				isolatedClient(t, r, addr, fmt.Sprintf("c%dn%d", i, n))
			}
		})
	}
	wg.Wait()
	Eventually(t, "all clients are gone", func() bool { return d.Stats().Clients == 0 })
}

// answerIsolated answers with bytes that name the request's own client, or misbehaves.
func answerIsolated(r *rand.Rand, c net.Conn, req string) bool {
	parsed, err := http.ReadRequest(bufio.NewReader(strings.NewReader(req)))
	if err != nil {
		return false
	}
	name := parsed.Header.Get("X-Client")
	if body, err := io.ReadAll(parsed.Body); err != nil || strings.ReplaceAll(string(body), name+".", "") != "" {
		name = "FOREIGN BODY"
	}
	text := strings.Repeat(name+".", r.IntN(3000))
	var out string
	switch r.IntN(3) {
	case 0:
		out = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	case 1:
		out = fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(text)+1, text+".")
	default:
		out = "HTTP/1.1 200 OK\r\n\r\n" + text
		_, _ = io.WriteString(c, out)
		return false
	}
	switch r.IntN(12) {
	case 0:
		return false // no answer
	case 1:
		_, _ = io.WriteString(c, out[:r.IntN(len(out))]) // half an answer
		return false
	case 2:
		_ = c.(*net.TCPConn).SetLinger(0)
		return false
	case 3:
		_, _ = io.WriteString(c, out+"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nFOREIGN") // too much
		return true
	}
	_, err = io.WriteString(c, out)
	return err == nil
}

// isolatedClient sends a few requests and complains about every byte that is not its own.
func isolatedClient(t *testing.T, r *rand.Rand, addr, name string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var out strings.Builder
	for range 1 + r.IntN(4) {
		body := strings.Repeat(name+".", r.IntN(2000))
		switch r.IntN(3) {
		case 0:
			fmt.Fprintf(&out, "GET / HTTP/1.1\r\nHost: a\r\nX-Client: %s\r\n\r\n", name)
		case 1:
			fmt.Fprintf(&out, "POST / HTTP/1.1\r\nHost: a\r\nX-Client: %s\r\nContent-Length: %d\r\n\r\n%s", name, len(body), body)
		default:
			fmt.Fprintf(&out, "PUT / HTTP/1.1\r\nHost: a\r\nX-Client: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", name, len(body)+len(name)+1, body+name+".")
		}
	}
	text := out.String()
	if r.IntN(4) == 0 {
		text = text[:r.IntN(len(text))]
	}
	if r.IntN(8) == 0 {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	go func() {
		_, _ = io.WriteString(c, text)
		if r := len(text) % 3; r == 0 {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	if r.IntN(6) == 0 {
		return // leave early
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Duration(50+r.IntN(300)) * time.Millisecond))
	b, _ := io.ReadAll(io.LimitReader(c, 1<<20))
	own(t, b, name)
}

// own complains unless every answer consists of its client's own name, cut off at most.
func own(t *testing.T, b []byte, name string) {
	br := bufio.NewReader(bytes.NewReader(b))
	for {
		r, err := http.ReadResponse(br, nil)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if r.StatusCode != 200 {
			continue
		}
		rest := strings.TrimSuffix(strings.ReplaceAll(string(body), name+".", ""), ".")
		if rest != "" && (err == nil || !strings.HasPrefix(name+".", rest)) {
			t.Errorf("%s got bytes of another: %.200q", name, rest)
		}
	}
}
