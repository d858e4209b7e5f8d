package records

import (
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// A relay that ends a TLS connection can say with its end that nothing of what came since the last byte it sent was read by the
// application behind it. It does so with a record of a type that TLS does not have, behind TLS's alert, where every receiver has to ignore
// it (RFC 8446, 6.1). The record bears a proof that only the two ends of the connection can make. Its place counts as well: the alert is
// the last record of its direction, so whoever has read it has read all that was sent before, and nobody in between can have kept an
// answer back to make its request look unread.
const (
	unreadRecord = 31 // not assigned
	unreadLabel  = "EXPERIMENTAL portico unread"
	proofSize    = 32
)

// proof is a secret of both ends of a connection (RFC 8446, 7.5) that is used for nothing else, so that whoever shows it is one of them.
func proof(t *tls.Conn) ([]byte, error) {
	s := t.ConnectionState()
	return s.ExportKeyingMaterial(unreadLabel, nil, proofSize)
}

// Unread reports whether t, the TLS connection whose ciphertext was fed to c, has ended in order and its peer has proved that nothing was
// read of what was sent to it since its last byte. It reads from t, which must not wait for bytes.
func (c *Cutter) Unread(t *tls.Conn) bool {
	if c.mark == nil || !c.Even() {
		return false
	}
	var b [1]byte
	if n, err := t.Read(b[:]); n > 0 || !errors.Is(err, io.EOF) {
		return false
	}
	want, err := proof(t)
	return err == nil && subtle.ConstantTimeCompare(want, c.mark[:]) == 1
}

// Unread is Cutter.Unread for t, the TLS connection above c. It takes away the deadline for reading.
func (c *Conn) Unread(t *tls.Conn) bool {
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	defer func() { _ = c.Conn.SetReadDeadline(time.Time{}) }()
	return c.in.Unread(t)
}

// Ending goes below a TLS connection that may end with CloseUnread.
type Ending struct {
	net.Conn
	behind atomic.Pointer[[]byte] // goes out with the next write
}

// Write implements net.Conn.
func (c *Ending) Write(b []byte) (int, error) {
	mark := c.behind.Swap(nil)
	if mark == nil {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(slices.Concat(b, *mark)) // together, or the other end would have read the alert before the proof has come
	return min(n, len(b)), err
}

// CloseUnread ends the direction of t, the TLS connection above c, and says that nothing was read since its last byte. Nobody else may
// write to t meanwhile.
func (c *Ending) CloseUnread(t *tls.Conn) error {
	if p, err := proof(t); err == nil {
		mark := append([]byte{unreadRecord, 3, 3, 0, proofSize}, p...)
		c.behind.Store(&mark)
	}
	return t.CloseWrite()
}
