package records

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// ErrEnd says that a connection ended without TLS's alert (RFC 8446, 6.1).
var ErrEnd = errors.New("the connection ended without saying so in TLS")

// Conn goes below a TLS connection that is used for one exchange after the other. An end that was not announced is an error there: it is
// what a killed process or a broken relay leaves, and what came before it may be cut. crypto/tls takes one between two records for an
// orderly end, with which an answer that only the end of its connection ends would look whole.
//
// Between two exchanges it tells whether the TLS connection holds something that it has read from the network and nobody has read from it.
type Conn struct {
	net.Conn
	in Cutter
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Feed(b[:n])
	if errors.Is(err, io.EOF) {
		err = ErrEnd
	}
	return n, err
}

// Silent reports whether t, the TLS connection above c, has nothing for its reader: neither bytes nor an end, nor the beginning of a
// record. It does not look at the network, and takes away the deadline for reading. When it reports false, t may have lost a byte
// and is to be closed.
func (c *Conn) Silent(t *tls.Conn) bool {
	if !c.in.Even() {
		return false
	}
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // what has passed lets nothing be read from below
	var b [1]byte
	n, err := t.Read(b[:])
	_ = c.Conn.SetReadDeadline(time.Time{})
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.in.Even()
}
