package main

import (
	"fmt"
	"syscall"
	"unsafe"
)

// pace sends requests at a rate of its own, so that a proxy is measured while it has time to spare. A request's latency counts from when
// it was due: one that finds no connection free waits for it, and the wait is the proxy's.
type pace struct {
	rate int
	idle []*loadConn
	due  int64 // of the next request, on nano's clock
}

func (p *pace) begin(list []*loadConn) {
	p.idle, p.due = append(p.idle, list...), nano()
	const timerSlack = 29 // PR_SET_TIMERSLACK: 50 µs by default, which is longer than from one request to the next
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, timerSlack, 1, 0)
}

// sendDue sends what is due, as far as there are connections, and returns how long it is until the next, in nanoseconds.
func (l *load) sendDue() int64 {
	p := &l.pace
	for {
		now := nano()
		if p.due > now {
			return p.due - now
		}
		n := len(p.idle)
		if n == 0 {
			return int64(100e6)
		}
		c := p.idle[0] // each in its turn, so that all are in use
		p.idle = p.idle[:copy(p.idle, p.idle[1:])]
		l.send(c)
		c.began = p.due
		p.due += int64(1e9) / int64(p.rate)
	}
}

// wait is epoll_wait, until the next request is due if there is a rate.
func (l *load) wait(evs []syscall.EpollEvent) (int, error) {
	if l.pace.rate == 0 {
		return syscall.EpollWait(l.ep, evs, 100)
	}
	ts := syscall.NsecToTimespec(l.sendDue())
	const epollWait2 = 441 // epoll_pwait2: its time is not in milliseconds
	n, _, e := syscall.Syscall6(epollWait2, uintptr(l.ep), uintptr(unsafe.Pointer(unsafe.SliceData(evs))), uintptr(len(evs)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if e == syscall.ENOSYS {
		return 0, fmt.Errorf("wait for the next request: %w: a rate needs Linux 5.11", e)
	}
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
