package conn

import (
	"net"
	"os"
	"time"
)

// reserveFD is a descriptor that is kept to be closed when there are no others, so that those who
// wait can be told. One goroutine uses it: each listener's has its own.
type reserveFD struct{ f *os.File }

func (s *reserveFD) open() {
	if s.f == nil {
		s.f, _ = os.Open(os.DevNull) // without one nobody is told, no more
	}
}

func (s *reserveFD) close() {
	if s.f != nil {
		_ = s.f.Close()
		s.f = nil
	}
}

// refused is how many are told at a time.
const refused = 16

// refuseWaiting answers those who wait at a listener with 503, one after the other on the spare descriptor.
func (srv *server) refuseWaiting(ln net.Listener, isTLS bool, s *reserveFD) {
	timed, ok := ln.(interface{ SetDeadline(t time.Time) error })
	if !ok {
		return
	}
	defer s.open()
	defer func() { _ = timed.SetDeadline(time.Time{}) }()
	for range refused {
		s.close()
		if timed.SetDeadline(time.Now().Add(5*time.Millisecond)) != nil {
			return
		}
		c, err := ln.Accept()
		if err != nil {
			return
		}
		srv.accepted.Add(1)
		srv.refuseNow(c, isTLS)
	}
}
