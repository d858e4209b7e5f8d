package loop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"portico/internal/records"
	"portico/proxy/loop/socket"
	"portico/proxy/wire"
)

// memConn is the net.Conn under a tls.Conn.
type memConn struct {
	fd     int32
	shake  bool // handshake: block until wake
	wake   chan struct{}
	quit   atomic.Bool // the handshake is given up
	in     []byte      // ciphertext that the loop has read
	store  []byte      // borrowed, where in must outlive the loop's buffer
	cut    records.Cutter
	eof    bool
	broken bool   // the kernel has told of an error, which it does once
	strict bool   // an end without TLS's alert is an error
	direct int    // a Write of so many bytes and more may go to the socket at once; 0: none
	more   bool   // it is not the last
	out    []byte // ciphertext to write
	sent   int
	remote net.Addr
	local  net.Addr
}

// wouldBlock says that more ciphertext is needed. crypto/tls does not remember a network error that is temporary, so reading can go
// on later; a test pins that.
type wouldBlock struct{}

func (wouldBlock) Error() string { return "operation would block" }

func (wouldBlock) Timeout() bool { return false }

func (wouldBlock) Temporary() bool { return true }

var errWouldBlock net.Error = wouldBlock{}

var errGivenUp = errors.New("handshake given up")

// owes reports whether ciphertext waits to be written.
func (m *memConn) owes() bool { return m.sent < len(m.out) }

// flush writes ciphertext until the socket is full.
func (m *memConn) flush() wire.Result {
	for m.sent < len(m.out) {
		n, e := socket.Write(m.fd, m.out[m.sent:])
		if e != 0 {
			if e != syscall.EAGAIN {
				m.out, m.sent = nil, 0
			}
			return socket.Result(e)
		}
		m.sent += int(n)
	}
	m.sent = 0
	outs.put(m.out)
	m.out = nil
	return wire.More
}

// took is flush where the write has been made: it took n bytes of out, with this result.
func (m *memConn) took(n int, res wire.Result) {
	m.sent += n
	if res != wire.Failed && m.owes() {
		return
	}
	outs.put(m.out)
	m.out, m.sent = nil, 0
}

// outs lends the buffers that ciphertext is made in. Not the loop's own memory: handshakes use it, too.
var outs outPool

// outSize holds the records of a piece with their heads and tails, and a few bytes behind another record.
const outSize = pieceSize + 4<<10

type outPool struct{ p sync.Pool }

func (o *outPool) get() []byte {
	if b, ok := o.p.Get().(*[outSize]byte); ok {
		return b[:0]
	}
	return new([outSize]byte)[:0]
}

func (o *outPool) put(b []byte) {
	if cap(b) == outSize {
		o.p.Put((*[outSize]byte)(b[:cap(b)]))
	}
}

// Read implements net.Conn.
func (m *memConn) Read(b []byte) (int, error) {
	switch {
	case m.shake:
		n, err := m.block(b, socket.Read)
		m.cut.Feed(b[:n])
		return n, err
	case len(m.in) > 0:
		n := copy(b, m.in)
		m.in = m.in[n:]
		return n, nil
	case m.broken, m.eof && m.strict:
		return 0, records.ErrEnd
	case m.eof:
		return 0, io.EOF
	}
	return 0, errWouldBlock
}

// Write implements net.Conn.
func (m *memConn) Write(b []byte) (int, error) {
	switch {
	case m.shake:
		n := 0
		for n < len(b) {
			k, err := m.block(b[n:], socket.Write)
			n += k
			if err != nil {
				return n, err
			}
		}
		return n, nil
	}
	sent := 0
	if m.direct != 0 && len(b) >= m.direct && m.out == nil { // no copy of it is needed, unless the socket is full
		var k uintptr
		var e syscall.Errno
		if m.more {
			k, e = socket.WriteMore(m.fd, b)
		} else {
			k, e = socket.Write(m.fd, b)
		}
		if e != 0 && e != syscall.EAGAIN {
			return 0, e
		}
		if e == 0 {
			sent = int(k)
		}
		if sent == len(b) {
			return sent, nil
		}
	}
	if m.out == nil {
		m.out = outs.get()
	}
	m.out = append(m.out, b[sent:]...)
	return len(b), nil
}

// block does one read or write of a handshake, sleeping until the loop has seen an event when it has to.
func (m *memConn) block(b []byte, call func(int32, []byte) (uintptr, syscall.Errno)) (int, error) {
	for {
		if m.quit.Load() {
			return 0, errGivenUp
		}
		n, e := call(m.fd, b)
		switch {
		case e == syscall.EAGAIN:
		case e != 0:
			return 0, os.NewSyscallError("handshake", e)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
		<-m.wake
	}
}

// Close implements net.Conn; the loop closes the descriptor.
func (m *memConn) Close() error { return nil }

// LocalAddr implements net.Conn.
func (m *memConn) LocalAddr() net.Addr { return m.local }

// RemoteAddr implements net.Conn.
func (m *memConn) RemoteAddr() net.Addr { return m.remote }

// SetDeadline implements net.Conn.
func (m *memConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (m *memConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (m *memConn) SetWriteDeadline(time.Time) error { return nil }
