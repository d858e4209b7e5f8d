package isolation

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// patience is how long one read or write may take before it counts as one that hangs: many times what the proxy's own timeouts allow.
const patience = 30 * time.Second

// ending is what one side does to a connection.
type ending uint8

const (
	goOn   ending = iota
	fin           // closes, in order
	half          // ends its own direction; over TLS without the alert, as one that would shorten an answer does
	reset         // closes so that the other side sees a reset
	silent        // keeps the connection and says nothing more
)

func (e ending) String() string {
	return [...]string{"goes on", "closes", "half-closes", "resets", "falls silent"}[e]
}

// wire is one side's connection.
type wire struct {
	net.Conn // TLS, or raw
	raw      *net.TCPConn

	dirty     *exchange     // behind whose answer an origin has sent what nobody asked for; nil: it has not
	since     time.Time     // when that was; zero: with the bytes before it
	impatient bool          // reads may not take longer than patience
	got       int64         // bytes read
	leave     int64         // after so many the reader leaves; negative: it stays
	leaves    ending        // how
	slow      int64         // after so many the reader rests once; negative: never
	rest      time.Duration // for so long
}

func newWire(raw net.Conn) *wire {
	return &wire{Conn: raw, raw: raw.(*net.TCPConn), leave: -1, slow: -1}
}

// small shrinks a socket before it is used.
func small(_, _ string, c syscall.RawConn) error { return c.Control(shrink) }

var (
	errLeft = errors.New("left as drawn")
	errHang = errors.New("nothing happens any more")
)

// Read is the connection's, with all that was drawn for a reader.
func (w *wire) Read(b []byte) (int, error) {
	if w.leave >= 0 && w.got >= w.leave {
		w.end(w.leaves)
		return 0, errLeft
	}
	if w.slow >= 0 && w.got >= w.slow {
		w.slow = -1
		time.Sleep(w.rest)
	}
	if w.leave >= 0 {
		b = b[:min(int64(len(b)), w.leave-w.got)]
	}
	if w.impatient {
		_ = w.SetReadDeadline(time.Now().Add(patience))
	}
	n, err := w.Conn.Read(b)
	w.got += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errHang
	}
	return n, err
}

// pace is how a message is written.
type pace struct {
	piece   int           // bytes at a time; 0: as many as there are
	pauseAt int64         // byte before which it rests; negative: nowhere
	pause   time.Duration // for so long
}

// send writes a message at its pace. No write may take longer than patience.
func (w *wire) send(b []byte, p pace) error {
	at := int64(0)
	for len(b) > 0 {
		n := min(len(b), 256<<10)
		if p.piece > 0 {
			n = min(n, p.piece)
		}
		if p.pauseAt >= at && p.pauseAt < at+int64(n) {
			if n = int(p.pauseAt - at); n == 0 {
				time.Sleep(p.pause)
				p.pauseAt = -1
				continue
			}
		}
		_ = w.SetWriteDeadline(time.Now().Add(patience))
		if _, err := w.Conn.Write(b[:n]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errHang
			}
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// end does what was drawn.
func (w *wire) end(e ending) {
	switch e {
	case fin:
		_ = w.raw.SetWriteDeadline(time.Now().Add(time.Second)) // of the alert
		_ = w.Conn.Close()
	case half:
		_ = w.raw.CloseWrite()
	case reset:
		_ = w.raw.SetLinger(0)
		_ = w.raw.Close()
	case goOn, silent:
	}
}

// finish ends this direction in order.
func (w *wire) finish() {
	if t, ok := w.Conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	_ = w.raw.CloseWrite()
}
