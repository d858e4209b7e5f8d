package loop

import (
	"syscall"

	"portico/proxy/exchange"
	"portico/proxy/loop/socket"
)

// ByteBudget is what one connection may move before others have their turn.
const ByteBudget = byteBudget

// NewWatched is New with functions that are called in a loop's goroutine around each of its turns, and where it looks at the clock with the
// work that it has done since the look before.
func NewWatched(o exchange.Options, begin, end func(), looked func(work int)) (exchange.Driver, error) {
	d, err := New(o)
	if err == nil {
		for _, l := range d.(*server).loops {
			l.watch = &watch{begin, end, looked}
		}
	}
	return d, err
}

// NewBrokenRing is New with rings that the kernel refuses when they are used.
func NewBrokenRing(o exchange.Options) (exchange.Driver, error) {
	d, err := New(o)
	if err == nil {
		for _, l := range d.(*server).loops {
			l.batch.least = 1
			if u := l.batch.ring; u != nil {
				socket.Close(u.FD)
				fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
				if err != nil {
					return nil, err
				}
				u.FD = int32(fd)
			}
		}
	}
	return d, err
}

// NewEager is New with loops that use the ring for a single socket, too.
func NewEager(o exchange.Options) (exchange.Driver, error) {
	d, err := New(o)
	if err == nil {
		for _, l := range d.(*server).loops {
			l.batch.least = 1
		}
	}
	return d, err
}
