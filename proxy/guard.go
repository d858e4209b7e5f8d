package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"portico/proxy/http1"
)

// guard stands between an HTTP/1 connection and net/http and lets through only
// what has exactly one reading. net/http drops a Content-Length beside
// Transfer-Encoding, takes bare LF, has no limit on the number of fields and
// says nothing of any of this to its handler; guard parses each head and each
// chunked body with package http1 first.
//
// A request that is refused reaches net/http as a harmless one with the fault in
// the queue of heads, so that the answer comes in order after those of earlier
// requests, through the same page, log and counters as every other, and the
// connection closes behind it.
//
// Read is called by net/http from one goroutine at a time; SetReadDeadline from
// any.
type guard struct {
	net.Conn
	limits  *http1.Limits
	timeout time.Duration // for a whole head, from its first byte

	buf     []byte // received, not yet judged
	scanned int    // of buf, by http1.ScanHead
	out     []byte // judged, not yet read by net/http; aliases buf or the substitute
	skip    int    // of buf, when out has been read
	phase   guardPhase
	left    int64 // of a body with a length
	chunks  http1.Chunked
	pass    int // judged bytes of buf within a chunked body
	req     http1.Request
	crlfs   int  // empty lines before the present request line
	refused bool // a substitute has been sent: nothing else follows
	linger  atomic.Bool
	broken  atomic.Pointer[fault] // a chunked body was not sound: nothing is read after it

	mu       sync.Mutex
	deadline time.Time // set by net/http, guarded by mu
	headBy   time.Time // when the head that has begun must be complete, guarded by mu; zero: none has
	heads    []headInfo
}

type guardPhase uint8

const (
	guardHead guardPhase = iota
	guardLength
	guardChunks
	guardRaw // another protocol, or nothing that matters any more
)

// headInfo is what the guard knows of a request that it let through.
type headInfo struct {
	fault  *fault // why it is refused; nil: it is not
	target string // as received
	size   int    // of the head
	began  time.Time
	raw    bool // no further request may follow on this connection
}

// substitute is what net/http reads in place of a refused request.
const substitute = "GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n"

// maxCRLFs is how many empty lines may precede a request line (RFC 9112
// section 2.2 asks for one).
const maxCRLFs = 2

var errGuardClosed = errors.New("connection closes after a refused request")

func newGuard(c net.Conn, limits *http1.Limits, timeout time.Duration) *guard {
	return &guard{Conn: c, limits: limits, timeout: timeout}
}

// tlsGuard is a guard whose connection is TLS. net/http finds the state of a
// connection by this method, so a plain guard must not have it.
type tlsGuard struct {
	*guard
	tls *tls.Conn
}

func (g tlsGuard) ConnectionState() tls.ConnectionState { return g.tls.ConnectionState() }

// CloseWrite lets net/http close in two steps, so that an answer is not lost
// when the client is still sending.
func (g *guard) CloseWrite() error {
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Close lingers for a moment after a refusal: closing while the client still
// sends resets the connection, and the client would never see why.
func (g *guard) Close() error {
	if g.linger.Load() {
		_ = g.CloseWrite()
		_ = g.Conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, _ = io.CopyN(io.Discard, g.Conn, 256<<10)
	}
	return g.Conn.Close()
}

// next takes what is known of the request that the handler was called for.
func (g *guard) next() headInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.heads) == 0 {
		return headInfo{fault: faultBadRequest, raw: true}
	}
	h := g.heads[0]
	g.heads = g.heads[1:]
	if len(g.heads) == 0 {
		g.heads = nil
	}
	return h
}

// takeRaw returns what was received after the head of an upgraded request and
// not yet read through the guard. From here on reads go to the connection.
func (g *guard) takeRaw() []byte {
	rest := g.buf[g.skip:]
	if len(g.out) > 0 {
		rest = g.out
	}
	g.buf, g.out, g.skip = nil, nil, 0
	return rest
}

// SetReadDeadline implements net.Conn. The time for a head that has begun is
// kept whatever net/http sets.
func (g *guard) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = t
	return g.applyLocked()
}

// SetDeadline implements net.Conn.
func (g *guard) SetDeadline(t time.Time) error {
	return errors.Join(g.SetReadDeadline(t), g.SetWriteDeadline(t))
}

func (g *guard) applyLocked() error {
	t := g.deadline
	if !g.headBy.IsZero() && (t.IsZero() || g.headBy.Before(t)) {
		t = g.headBy
	}
	return g.Conn.SetReadDeadline(t)
}

// headClock starts or stops the time for a head.
func (g *guard) headClock(run bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if run == !g.headBy.IsZero() {
		return
	}
	g.headBy = time.Time{}
	if run {
		g.headBy = time.Now().Add(g.timeout)
	}
	_ = g.applyLocked()
}

// Read implements net.Conn for net/http.
func (g *guard) Read(p []byte) (int, error) {
	for {
		if len(g.out) > 0 {
			n := copy(p, g.out)
			g.out = g.out[n:]
			if len(g.out) == 0 && g.skip > 0 {
				g.drop(g.skip)
				g.skip = 0
			}
			return n, nil
		}
		if f := g.broken.Load(); f != nil {
			return 0, f
		}
		if g.refused {
			return 0, errGuardClosed
		}
		switch g.phase {
		case guardRaw:
			if len(g.buf) > 0 {
				n := copy(p, g.buf)
				g.drop(n)
				return n, nil
			}
			return g.Conn.Read(p)
		case guardLength:
			return g.readLength(p)
		case guardChunks:
			if n, err := g.readChunks(p); n > 0 || err != nil {
				return n, err
			}
		case guardHead:
			if err := g.readHead(); err != nil {
				return 0, err
			}
		}
	}
}

// drop forgets the first n bytes of buf, and buf itself once it is empty: an
// idle connection holds none.
func (g *guard) drop(n int) {
	if n == len(g.buf) {
		g.buf = nil
		return
	}
	g.buf = g.buf[n:]
}

// fill reads more into buf.
func (g *guard) fill() error {
	const step = 4 << 10
	if cap(g.buf)-len(g.buf) < 512 {
		g.buf = append(make([]byte, 0, len(g.buf)+step), g.buf...)
	}
	n, err := g.Conn.Read(g.buf[len(g.buf):cap(g.buf)])
	g.buf = g.buf[:len(g.buf)+n]
	if len(g.buf) == 0 {
		g.buf = nil
	}
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// readLength passes on a body with a length.
func (g *guard) readLength(p []byte) (int, error) {
	if int64(len(p)) > g.left {
		p = p[:g.left]
	}
	var n int
	var err error
	if len(g.buf) > 0 {
		n = copy(p, g.buf)
		g.drop(n)
	} else {
		n, err = g.Conn.Read(p)
	}
	if g.left -= int64(n); g.left == 0 {
		g.phase = guardHead
	}
	return n, err
}

// readChunks passes on a chunked body as far as it is sound. The framing goes
// with it: net/http decodes it again.
func (g *guard) readChunks(p []byte) (int, error) {
	if g.pass > 0 {
		n := copy(p, g.buf[:g.pass])
		g.pass -= n
		g.drop(n)
		if g.pass == 0 && g.chunks.Done() {
			g.phase = guardHead
		}
		return n, nil
	}
	if len(g.buf) == 0 {
		if err := g.fill(); err != nil {
			return 0, err
		}
	}
	for g.pass < len(g.buf) && !g.chunks.Done() {
		skip, data, trailer, f := g.chunks.Next(g.buf[g.pass:], g.limits)
		if f != http1.NoFault {
			g.broken.Store(faultOf(f))
			break
		}
		if trailer != nil {
			if _, f = http1.AppendTrailers(nil, &http1.Head{}, trailer, g.limits); f != http1.NoFault {
				g.broken.Store(faultOf(f))
				break
			}
		}
		if skip+data == 0 {
			if g.pass > 0 {
				break
			}
			if err := g.fill(); err != nil { // an unfinished trailer section
				return 0, err
			}
			continue
		}
		g.pass += skip + data
	}
	return 0, nil
}

// readHead waits for a whole head, judges it and makes it available.
func (g *guard) readHead() error {
	for {
		for len(g.buf) >= 2 && g.buf[0] == '\r' && g.buf[1] == '\n' && g.scanned == 0 {
			if g.crlfs++; g.crlfs > maxCRLFs {
				g.refuse(faultBadRequest)
				return nil
			}
			g.drop(2)
		}
		end, next, f := http1.ScanHead(g.buf, g.scanned)
		g.scanned = next
		switch {
		case f != http1.NoFault:
			g.refuse(faultOf(f))
			return nil
		case end > 0:
			g.judge(end)
			return nil
		case len(g.buf) > g.limits.Line && g.scanned == 0:
			g.refuse(faultOf(http1.FaultLineLong))
			return nil
		case len(g.buf) > g.limits.Head:
			g.refuse(faultOf(http1.FaultHeadLong))
			return nil
		}
		g.headClock(len(g.buf) > 0)
		if err := g.fill(); err != nil {
			return g.headError(err)
		}
	}
}

// headError ends a connection whose head did not come. A client that began one
// and took too long is told so.
func (g *guard) headError(err error) error {
	if len(g.buf) == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	g.mu.Lock()
	late := !g.headBy.IsZero() && !time.Now().Before(g.headBy)
	g.mu.Unlock()
	if !late {
		return err // net/http wants its goroutine back; what was received stays
	}
	g.refuse(faultHeaderTimeout)
	return nil
}

// judge parses the head in the first end bytes of buf and sets up what follows.
func (g *guard) judge(end int) {
	g.headClock(false)
	g.scanned, g.crlfs = 0, 0
	head := g.buf[:end]
	if end > g.limits.Head {
		g.refuse(faultOf(http1.FaultHeadLong))
		return
	}
	if f := http1.ParseRequest(&g.req, head, g.limits); f != http1.NoFault {
		g.refuse(faultOf(f))
		return
	}
	if string(g.req.Path) != "*" && len(g.req.Path) > 0 {
		if _, ok := NormalizePath(string(g.req.Path)); !ok {
			g.refuse(faultOf(http1.FaultTarget))
			return
		}
	}
	if _, ok := ParseHost(string(g.req.Host)); !ok {
		g.refuse(faultOf(http1.FaultHost))
		return
	}
	info := headInfo{target: targetOf(&g.req), size: end, began: time.Now()}
	g.phase = guardHead
	switch {
	case g.req.Upgrade() != nil:
		g.phase, info.raw = guardRaw, true
	case g.req.Chunked:
		g.phase, g.chunks, g.pass = guardChunks, http1.Chunked{}, 0
	case g.req.Length > 0:
		g.phase, g.left = guardLength, g.req.Length
	}
	g.push(info)
	g.out, g.skip = head, end
}

// targetOf returns the target in origin form (or "*"): path and query as they
// were received.
func targetOf(r *http1.Request) string {
	t := string(r.Target)
	if t[0] == '/' || t == "*" {
		return t
	}
	t = string(r.Path)
	if t == "" {
		t = "/"
	}
	if r.Query != nil {
		t += "?" + string(r.Query)
	}
	return t
}

func (g *guard) push(h headInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heads = append(g.heads, h)
}

// refuse lets net/http see a substitute and nothing after it.
func (g *guard) refuse(f *fault) {
	g.headClock(false)
	g.push(headInfo{fault: f, size: len(g.buf), began: time.Now(), raw: true})
	g.buf, g.skip, g.scanned = nil, 0, 0
	g.out = []byte(substitute)
	g.refused = true
	g.linger.Store(true)
}

// faultOf words a fault of the parser for the visitor.
func faultOf(f http1.Fault) *fault {
	text := "The request is not valid HTTP: " + f.Error() + "."
	return &fault{status: f.Status(), cause: 'P', phase: 'R', text: text, closed: true}
}
