package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// What a client may send in HTTP/2 frames that move nothing: PING, SETTINGS,
// WINDOW_UPDATE, PRIORITY, CONTINUATION, empty DATA and those that nobody knows.
// net/http answers or skips each of them, as many as come (CVE-2019-9512, -9515,
// -9518, CVE-2024-27316). RST_STREAM has a budget of its own, see maxResets.
const (
	frameBudget  = 1000 // at once: far more than a browser sends in its life
	framesRefill = 10   // given back in a second
	framesWorth  = 4    // given back for each frame that carries a request or a body, either way
)

// Frame types and the flag that matter here (RFC 9113, 6).
const (
	frameData    = 0x0
	frameHeaders = 0x1
	frameReset   = 0x3
	flagEnd      = 0x1 // END_STREAM
	flagPadded   = 0x8
	frameHead    = 9 // bytes
)

var (
	errTooManyFrames = errors.New("the client's HTTP/2 frames carry nothing: connection closed")
	errNoPreface     = errors.New("the client agreed on HTTP/2 and speaks something else: connection closed")
)

// frames is an HTTP/2 connection within its TLS. It looks at the head of each
// frame that passes and ends the connection whose client uses up its budget.
// Nothing but HTTP/2 passes: net/http would take HTTP/1 here, and no guard is
// before its parser.
//
// It has no ConnectionState: to net/http it is a connection that is not
// encrypted, the only kind whose frames somebody may stand beside.
type frames struct {
	net.Conn
	tls   *tls.Conn
	front *frontend

	in      frameScan // of Read, which one goroutine calls at a time
	preface string    // what the client has yet to send of it (RFC 9113, 3.4); of Read, too

	mu   sync.Mutex
	out  frameScan // of Write, guarded by mu
	left int       // of the budget, guarded by mu
	seen time.Time // when time was last given back, guarded by mu
}

func newFrames(c *tls.Conn, f *frontend) *frames {
	return &frames{Conn: c, tls: c, front: f, in: frameScan{skip: len(http2.ClientPreface)}, preface: http2.ClientPreface, left: frameBudget, seen: time.Now()}
}

// Read implements net.Conn.
func (f *frames) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if f.preface != "" {
		begin := min(n, len(f.preface))
		if string(b[:begin]) != f.preface[:begin] {
			f.front.deniedConns.Add(1)
			return 0, errNoPreface
		}
		f.preface = f.preface[begin:]
	}
	useful, idle := f.in.count(b[:n])
	if idle > 0 && !f.spend(useful, idle) {
		f.front.deniedConns.Add(1)
		return 0, errTooManyFrames
	}
	if idle == 0 && useful > 0 {
		f.earn(useful)
	}
	return n, err
}

// Write implements net.Conn.
func (f *frames) Write(b []byte) (int, error) {
	n, err := f.Conn.Write(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	useful, _ := f.out.count(b[:n])
	f.earnLocked(useful)
	return n, err
}

// spend takes frames off the budget and reports whether it lasts.
func (f *frames) spend(useful, idle int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.earnLocked(useful)
	now := time.Now()
	if back := int(now.Sub(f.seen).Seconds() * framesRefill); back > 0 {
		f.left, f.seen = min(f.left+back, frameBudget), now
	}
	f.left -= idle
	return f.left >= 0
}

func (f *frames) earn(useful int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.earnLocked(useful)
}

func (f *frames) earnLocked(useful int) { f.left = min(f.left+framesWorth*useful, frameBudget) }

// frameScan finds the heads of frames in a stream of bytes.
type frameScan struct {
	head [frameHead]byte
	have int // of head
	skip int // bytes until the next head

	padded bool // the next byte says how much of the frame is padding
}

// count tells how many frames begin in b that carry something, and how many that do not.
func (s *frameScan) count(b []byte) (useful, idle int) {
	for len(b) > 0 {
		if s.padded {
			s.padded = false
			if s.skip > 1+int(b[0]) {
				useful++
			} else {
				idle++
			}
		}
		if s.skip >= len(b) {
			s.skip -= len(b)
			return useful, idle
		}
		b = b[s.skip:]
		s.skip = 0
		n := copy(s.head[s.have:], b)
		b = b[n:]
		if s.have += n; s.have < frameHead {
			return useful, idle
		}
		s.have, s.skip = 0, int(s.head[0])<<16|int(s.head[1])<<8|int(s.head[2])
		switch kind := s.head[3]; {
		case kind == frameData && s.skip > 0 && s.head[4]&(flagEnd|flagPadded) == flagPadded:
			s.padded = true
		case kind == frameHeaders, kind == frameData && (s.skip > 0 || s.head[4]&flagEnd != 0):
			useful++
		case kind != frameReset:
			idle++
		}
	}
	return useful, idle
}
