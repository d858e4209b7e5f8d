// Package gather sends what several goroutines write in quick succession with one
// system call.
package gather

import (
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	most   = 64 << 10         // bytes that wait; who writes more waits, too
	linger = 5 * time.Second  // for what still waits when nothing more can come
	large  = 2 * (16<<10 + 5) // a write of two records of TLS is worth a system call of its own
)

// Conn is a connection whose Write returns before the bytes are sent: they go out
// as soon as the goroutines that can run have run, together with what these write.
// net/http's HTTP/2 server flushes each header and each body by itself; gathered,
// the answers of many streams leave at once.
//
// An error of sending is what the next Write returns; it closes the connection,
// so that the reader notices as well. Deadlines for writing count from the moment
// that bytes are sent.
type Conn struct {
	net.Conn

	mu     sync.Mutex
	change sync.Cond     // busy or buf have changed
	buf    []byte        // to be sent, guarded by mu
	busy   bool          // a goroutine sends, guarded by mu
	err    error         // of sending, guarded by mu
	budget time.Duration // for one write, guarded by mu; 0: no limit
	sealed bool          // the deadline for writing has passed, guarded by mu
	closed bool          // guarded by mu
}

// New returns c with its writes gathered.
func New(c net.Conn) *Conn {
	g := &Conn{Conn: c}
	g.change.L = &g.mu
	return g
}

// Write implements net.Conn. It waits only while much is on its way already.
func (g *Conn) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.buf) > 0 && len(g.buf)+len(b) > most && g.err == nil && !g.closed && !g.sealed {
		g.change.Wait()
	}
	switch {
	case g.err != nil:
		return 0, g.err
	case g.closed:
		return 0, net.ErrClosed
	case g.sealed:
		return 0, os.ErrDeadlineExceeded
	}
	if g.buf == nil {
		g.buf = buffers.get()
	}
	g.buf = append(g.buf, b...)
	if !g.busy {
		g.busy = true
		go g.send(len(b) < large)
	}
	return len(b), nil
}

// send sends until nothing waits.
func (g *Conn) send(wait bool) {
	if wait {
		runtime.Gosched() // let those write who are about to
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.buf) > 0 && g.err == nil {
		out := g.buf
		g.buf = nil
		if g.budget > 0 {
			_ = g.Conn.SetWriteDeadline(time.Now().Add(g.budget))
		}
		g.change.Broadcast()
		g.mu.Unlock()
		_, err := g.Conn.Write(out)
		buffers.put(out)
		g.mu.Lock()
		if err != nil {
			g.err = err
			_ = g.Conn.Close()
		}
	}
	g.busy = false
	g.change.Broadcast()
	if g.closed {
		_ = g.Conn.Close()
	}
}

// flush waits until everything is sent, or it cannot be.
func (g *Conn) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.busy {
		g.change.Wait()
	}
}

// SetWriteDeadline implements net.Conn: the time until t is what each sending to
// come has. After a time that has passed nothing more can be written; what waits is
// still sent, as crypto/tls expects when it has said good-bye.
func (g *Conn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		return nil // net/http takes its deadline back when Write has returned; the sending is still to come
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := time.Until(t); d > 0 {
		g.budget = d
		return nil
	}
	g.sealed = true
	g.change.Broadcast()
	return g.hurryLocked()
}

// hurryLocked bounds the time for what is on its way.
func (g *Conn) hurryLocked() error {
	if !g.busy {
		return nil
	}
	g.budget = linger
	return g.Conn.SetWriteDeadline(time.Now().Add(linger))
}

// SetDeadline implements net.Conn.
func (g *Conn) SetDeadline(t time.Time) error {
	_ = g.SetWriteDeadline(t)
	return g.SetReadDeadline(t)
}

// CloseWrite ends our direction after what waits.
func (g *Conn) CloseWrite() error {
	g.flush()
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Close closes the connection when what waits has been sent, for which it has a
// few seconds. It does not wait for that.
func (g *Conn) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return net.ErrClosed
	}
	g.closed = true
	g.change.Broadcast()
	if g.busy {
		return g.hurryLocked()
	}
	return g.Conn.Close()
}

// buffers lends what waiting bytes are kept in.
//
//nolint:gochecknoglobals // a pool
var buffers bufferPool

type bufferPool struct{ p sync.Pool }

func (p *bufferPool) get() []byte {
	if b, ok := p.p.Get().(*[most]byte); ok {
		return b[:0]
	}
	return new([most]byte)[:0]
}

func (p *bufferPool) put(b []byte) {
	if cap(b) == most {
		p.p.Put((*[most]byte)(b[:most]))
	}
}
