package exchangetest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

const foreign = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nFOREIGN"

// surplus: what an origin sends behind an answer is an answer to nobody, wherever it lies when the next client comes: in the socket, in
// a TLS connection that has read it, half of it in either. It is enough that an application counts characters for bytes.
func surplus(t *testing.T, mk rig.Maker) {
	for name, k := range map[string]*excess{
		"small":       {size: 100},
		"full read":   {size: 32 << 10},
		"full record": {size: 16 << 10},
		"spliced":     {size: 300 << 10},
		"no body":     {bodyless: true},
		"later":       {size: 100, late: true},
		"half":        {size: 100, half: true},
	} {
		for _, secure := range []bool{false, true} {
			if k.half && !secure {
				continue // half of a head is in the socket, or was read with the answer
			}
			t.Run(name+map[bool]string{true: " over TLS"}[secure], func(t *testing.T) {
				t.Parallel()
				(&excess{size: k.size, bodyless: k.bodyless, late: k.late, half: k.half}).run(t, mk, secure)
			})
		}
	}
}

// excess is one way of sending too much.
type excess struct {
	size     int  // of an answer with its head
	bodyless bool // the answer is 304
	late     bool // the surplus comes when the next request has come, and before it is sent
	half     bool // the surplus is a record that is complete only when the next request was sent

	mu   sync.Mutex
	last net.Conn // of the latest answer, guarded by mu
}

func (k *excess) run(t *testing.T, mk rig.Maker, secure bool) {
	cert, pool := rig.Certificate(t)
	o := rig.NewRawOrigin(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		p := &pieces{Conn: c}
		if !secure {
			k.serve(p, p)
			return
		}
		k.serve(p, tls.Server(p, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}))
	})
	h := rig.With(o)
	if secure {
		h.Upstreams[0].TLS = &tls.Config{RootCAs: pool, ServerName: "a", MinVersion: tls.VersionTLS13}
	}
	h.Decide = func(*http1.Request, *exchange.Peer, *exchange.Decision) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.late && k.last != nil {
			_, _ = io.WriteString(k.last, foreign)
			k.last = nil
		}
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	for i := range 30 {
		target := fmt.Sprintf("/%d", i)
		want := k.answer(target)
		got := rig.Exchange(t, addr, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n")
		if got != want {
			t.Fatalf("the answer to request %d: %s", i, table.Clip(got))
		}
	}
}

func (k *excess) answer(target string) string {
	if k.bodyless {
		return "HTTP/1.1 304 Not Modified\r\nETag: \"" + target + "\"\r\n\r\n"
	}
	head := func(n int) string { return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n) }
	n := k.size - len(head(k.size))
	n += k.size - n - len(head(n)) // it may have fewer digits
	return head(n) + strings.Repeat(target, n/len(target)+1)[:n]
}

// serve answers on c, which is p or a TLS connection over it.
func (k *excess) serve(p *pieces, c net.Conn) {
	br := bufio.NewReader(c)
	for {
		head := rig.ReadHead(br)
		_, rest, _ := strings.Cut(head, " ")
		target, _, ok := strings.Cut(rest, " ")
		if !ok {
			return
		}
		p.collect()
		_, _ = io.WriteString(c, k.answer(target))
		if !k.late {
			_, _ = io.WriteString(c, foreign)
		}
		k.mu.Lock()
		k.last = c
		k.mu.Unlock()
		if p.send(k.half) != nil {
			return
		}
	}
}

// pieces sends what was written together with one call, or all but its end, which then comes before all else.
type pieces struct {
	net.Conn
	mu   sync.Mutex
	hold bool   // guarded by mu
	buf  []byte // guarded by mu
}

// Write implements net.Conn.
func (p *pieces) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold {
		p.buf = append(p.buf, b...)
		return len(b), nil
	}
	return p.Conn.Write(b)
}

func (p *pieces) collect() {
	p.mu.Lock()
	p.hold = true
	p.mu.Unlock()
}

func (p *pieces) send(half bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.buf)
	if half {
		n -= len(foreign) / 2
	}
	_, err := p.Conn.Write(p.buf[:n])
	p.buf, p.hold = append(p.buf[:0], p.buf[n:]...), half
	return err
}
