package conn

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"portico/internal/unsent"
	"portico/proxy/exchange"
	"portico/proxy/wire"
)

// steady goes below a TLS connection. A write of TLS that ran into a deadline would be its last, and what it had written would not be
// known; so a deadline here only looks at the time, and a write ends when its side has taken next to
// nothing for as long as there is patience.
type steady struct {
	net.Conn
	base     net.Conn     // the system's, below all
	halted   *atomic.Bool // no more waiting: set before the deadline that is to end it
	patience atomic.Int64 // for a write whose side takes nothing, a duration; 0 and less: no limit
	rate     int          // bytes a second that count as nothing; 0: one is enough
	anew     atomic.Bool  // the time of a write that waits begins anew, see allow
	moved    atomic.Bool  // the side of a write that is still under way has taken bytes: for those who keep the time beside it

	probing bool // see probe; for who reads

	mu   sync.Mutex
	held []byte // what was written since cork; nil: it is not corked. Guarded by mu
}

// newSteady makes one for a client.
func newSteady(c, base net.Conn, halted *atomic.Bool, t *wire.Timeouts) *steady {
	k := makeSteady(c, base, halted, t.Write)
	if t.Grace > 0 {
		k.rate = max(t.MinRate, 0)
	}
	return k
}

func makeSteady(c, base net.Conn, halted *atomic.Bool, patience time.Duration) *steady {
	k := &steady{Conn: c, base: base, halted: halted}
	k.patience.Store(int64(patience))
	return k
}

// Write implements net.Conn.
func (c *steady) Write(b []byte) (int, error) {
	if c.holds(b) {
		return len(b), nil
	}
	done, since := 0, time.Now()
	begun, owed := since, exchange.Unacked{}
	for {
		if c.halted.Load() {
			return done, os.ErrDeadlineExceeded
		}
		n, err := c.Conn.Write(b[done:])
		done += n
		if !isTimeout(err) {
			return done, err
		}
		now := time.Now()
		switch held := max(unsent.Held(c.base), 0); {
		case owed.Look(int64(now.Sub(begun)), held-done, c.rate):
			since = now
			c.moved.Store(true)
		case c.anew.Swap(false):
			since = now
		case c.outOfPatience(now.Sub(since)):
			return done, err
		}
		_ = c.Conn.SetWriteDeadline(c.next(now, since))
	}
}

// Read implements net.Conn.
func (c *steady) Read(b []byte) (int, error) {
	if c.probing {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(b)
}

// probe reads what t, the TLS connection above c, has for its reader already. A timeout says that this is nothing.
func (c *steady) probe(t net.Conn, b []byte) (int, error) {
	c.probing = true
	defer func() { c.probing = false }()
	return t.Read(b)
}

// cork keeps what is written from here on in b: records of TLS that go out with one system call.
func (c *steady) cork(b []byte) {
	c.mu.Lock()
	c.held = b[:0]
	c.mu.Unlock()
}

// uncork returns what was written since cork.
func (c *steady) uncork() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.held
	c.held = nil
	return b
}

func (c *steady) holds(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return false
	}
	c.held = append(c.held, b...)
	return true
}

// next is when a write that has waited since then looks again.
func (c *steady) next(now, since time.Time) time.Time {
	at := now.Add(c.glance())
	patience := time.Duration(c.patience.Load())
	if end := since.Add(patience); patience > 0 && end.Before(at) {
		return end
	}
	return at
}

// allow changes the patience, also that of a write which waits: it has all of it from here on.
func (c *steady) allow(patience time.Duration) {
	c.patience.Store(int64(patience))
	c.anew.Store(true)
}

func (c *steady) outOfPatience(waited time.Duration) bool {
	patience := time.Duration(c.patience.Load())
	return patience > 0 && waited >= patience
}

// glance is how long a write waits before it looks.
func (c *steady) glance() time.Duration {
	patience := time.Duration(c.patience.Load())
	if patience <= 0 {
		return look
	}
	return min(look, max(patience/8, 10*time.Millisecond))
}

// CloseWrite ends our direction only.
func (c *steady) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}
