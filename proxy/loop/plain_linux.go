package loop

import (
	"syscall"

	"portico/proxy/loop/socket"
	"portico/proxy/wire"
)

// failed is result for a socket; it remembers a reset. An orderly end that came before is what EPIPE says, and makes no answer a cut one.
func (s *sock) failed(e syscall.Errno) wire.Result {
	s.reset = s.reset || e != syscall.EAGAIN && e != syscall.EPIPE
	return socket.Result(e)
}
