package relay

import "net"

// peeker sees nothing here: only an end that has been read already counts.
type peeker struct{}

func newPeeker(*net.TCPConn) *peeker { return &peeker{} }

func (*peeker) ended() bool { return false }
