//go:build !linux

package conn

import (
	"errors"
	"net"
	"os"
	"time"
)

const rawIO = false

var errAgain = errors.New("again") // a constant

func tellMore(uintptr) {}

func sysRead(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func sysReadTold(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }

func sysWrite(uintptr, []byte, []byte) (int, error) { return 0, errors.ErrUnsupported }

func quiet(uintptr) bool { return false }

func quickAck(net.Conn) {}

// peeker looks at a connection by reading with a deadline of a millisecond. Peeking would be cheaper, but is different everywhere.
type peeker struct{ conn net.Conn }

func (p *peeker) init(c net.Conn) { p.conn = c }

// quiet reports whether a connection is open and has nothing to say.
func (p *peeker) quiet() bool {
	var b [1]byte
	_ = p.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	n, err := p.conn.Read(b[:])
	_ = p.conn.SetReadDeadline(time.Time{})
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// broken cannot tell without taking bytes; a write will.
func (p *peeker) broken() bool { return false }

// ended cannot tell either.
func (p *peeker) ended() bool { return false }
