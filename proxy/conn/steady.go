package conn

import (
	"net"
	"os"
	"sync/atomic"
	"time"

	"portico/proxy/http1"
)

// steady goes below a TLS connection. A write of TLS that ran into a deadline would be its last, and what it had written would not be
// known; so deadlines here are for writes that move next to nothing: else the write goes on, for as long again.
type steady struct {
	net.Conn
	halted   *atomic.Bool  // no more waiting: set before the deadline that is to end it
	patience time.Duration // for a write that moves nothing; 0 and less: no limit
	least    int           // more bytes than this must move meanwhile
	given    atomic.Bool   // to others, who have deadlines of their own
}

// newSteady makes one for a client.
func newSteady(c net.Conn, halted *atomic.Bool, t *http1.Timeouts) *steady {
	k := &steady{Conn: c, halted: halted, patience: t.Write}
	if t.Grace > 0 && t.MinRate > 0 && t.Write > 0 {
		k.least = int(t.Write.Seconds() * float64(t.MinRate))
	}
	return k
}

// Write implements net.Conn.
func (c *steady) Write(b []byte) (int, error) {
	if c.given.Load() {
		return c.Conn.Write(b)
	}
	for done := 0; ; {
		if c.halted.Load() {
			return done, os.ErrDeadlineExceeded
		}
		n, err := c.Conn.Write(b[done:])
		done += n
		if n <= c.least || !isTimeout(err) {
			return done, err
		}
		_ = c.Conn.SetWriteDeadline(c.after(time.Now()))
	}
}

// after is the deadline of a write that begins at t.
func (c *steady) after(t time.Time) time.Time {
	if c.patience <= 0 {
		return time.Time{}
	}
	return t.Add(c.patience)
}

// CloseWrite ends our direction only.
func (c *steady) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}
