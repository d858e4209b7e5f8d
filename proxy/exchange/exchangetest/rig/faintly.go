package rig

import (
	"net"
	"time"
)

// How a faint side is slow: in the time after which a side that does nothing is given up it takes less than the system waits for before it
// says that there is room again. After three such times it takes what is left at once.
const (
	faintPiece = 1 << 10
	FaintPause = 120 * time.Millisecond // 8 KiB a second
	FaintSize  = 5 << 20                // more than the system holds
	FaintTail  = 256 << 10              // less, so that a sender has done with it long before it is taken
)

// Faintly reads faintly from its first read on.
type Faintly struct {
	*net.TCPConn
	*Slow
	until time.Time
}

// Read implements net.Conn.
func (f *Faintly) Read(b []byte) (int, error) {
	now := time.Now()
	switch {
	case f.until.IsZero():
		f.until = now.Add(3 * f.Limit)
	case now.After(f.until):
		_ = f.SetReadBuffer(1 << 20)
		return f.TCPConn.Read(b)
	}
	f.Piece()
	return f.TCPConn.Read(b[:min(len(b), faintPiece)])
}
