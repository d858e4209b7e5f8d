package loop

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"portico/proxy/http1"
	"portico/proxy/loop/socket"
)

// listen shares a listener's socket with the loop.
func (l *loop) listen(ln net.Listener, index int, shared bool) error {
	fd, err := dupListener(ln)
	if err != nil {
		return err
	}
	s := &sock{fd: fd, kind: kindListener, index: index}
	events := uint32(syscall.EPOLLIN)
	if shared {
		events |= 1 << 28 // EPOLLEXCLUSIVE: wake one loop, not all
	}
	if err := l.register(s, events); err != nil {
		socket.Close(fd)
		return err
	}
	l.listeners = append(l.listeners, s)
	return nil
}

func dupListener(ln net.Listener) (int32, error) {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return -1, syscall.EINVAL
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	err = rc.Control(func(p uintptr) {
		n, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, p, syscall.F_DUPFD_CLOEXEC, 0)
		if e != 0 {
			dupErr = e
			return
		}
		fd = int(n)
	})
	if err == nil {
		err = dupErr
	}
	return int32(fd), err
}

// accept takes what is waiting, up to a budget; the listener is level-triggered, so the rest comes in the next turn.
func (l *loop) accept(ln *sock) {
	for range acceptBudget {
		if l.late() {
			return
		}
		l.work += acceptWork
		fd, addr, err := socket.Accept(ln.fd)
		switch err {
		case 0:
			l.accepted.Add(1)
			if !l.srv.files.Keep(uintptr(fd)) {
				l.refuse(fd, ln.index)
				l.outOfDescriptors(ln)
				return
			}
			l.admit(fd, ln.index, addr)
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			l.srv.files.Out(err)
			l.outOfDescriptors(ln)
			return
		case syscall.EINTR, syscall.ECONNABORTED:
		default:
			return
		}
	}
}

// admit keeps a connection, gives it to a loop with less to do, or refuses it.
func (l *loop) admit(fd int32, index int, addr netip.AddrPort) {
	if limit := l.srv.opt.MaxConns; limit > 0 && l.srv.clients() >= int64(limit) {
		l.refuse(fd, index)
		return
	}
	if to := l.srv.emptiest(l); to != l {
		to.clients.Add(1) // adopt takes it off again; without it, a burst would all go to one loop
		to.post(message{kind: messageConn, fd: fd, index: index, addr: addr})
		return
	}
	l.clients.Add(1)
	l.adopt(fd, index, addr)
}

var busy = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n")

func (l *loop) refuse(fd int32, index int) {
	l.refused.Add(1)
	if l.srv.opt.Listeners[index].TLS == nil {
		socket.Write(fd, busy)
		socket.Shutdown(fd)
		var b [2048]byte
		socket.Read(fd, b[:]) // what is here already would turn the close into a reset
	}
	socket.Close(fd)
}

// outOfDescriptors answers those who wait with 503, one at a time on a descriptor kept for this, then leaves the listener alone for
// a moment: a turn that can keep nobody must not be followed by another at once.
func (l *loop) outOfDescriptors(ln *sock) {
	for range acceptBudget {
		if l.reserve >= 0 {
			socket.Close(l.reserve)
			l.reserve = -1
		}
		fd, _, err := socket.Accept(ln.fd)
		if err != 0 {
			break
		}
		l.accepted.Add(1)
		l.refuse(fd, ln.index)
	}
	l.openReserve()
	l.pauseAccept(true)
	l.shed()
}

// shed has idle connections to upstreams closed soon, because descriptors are short.
func (l *loop) shed() { l.shedding, l.sweep, l.overdue = true, 0, true }

func (l *loop) pauseAccept(on bool) {
	l.paused = on
	l.resume = l.now + int64(50*time.Millisecond)
	if !on {
		l.openReserve()
	}
	for _, ln := range l.listeners {
		if on {
			_ = syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_DEL, int(ln.fd), nil)
			continue
		}
		ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: ln.fd, Pad: int32(ln.gen)}
		_ = syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_ADD, int(ln.fd), &ev)
	}
	if on {
		l.schedule(l.wake, l.resume) // so that the wait ends in time
		l.wake.deadline = 0
	}
}

// adopt makes an accepted connection one of the loop's; it is counted already.
func (l *loop) adopt(fd int32, index int, addr netip.AddrPort) {
	if l.draining {
		l.clients.Add(-1)
		socket.Close(fd)
		return
	}
	socket.SetOption(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
	c := &sock{fd: fd, kind: kindClient, addr: addr, index: index}
	ln := &l.srv.opt.Listeners[index]
	c.https = ln.TLS != nil
	c.deadline = l.now + int64(l.srv.opt.Timeouts.Idle)
	proxied := l.srv.fromProxy(index, addr.Addr())
	if !proxied && !l.opened(c) {
		return
	}
	if proxied {
		c.proxy = make([]byte, 0, http1.ProxyHeaderMax)
		c.deadline = l.now + int64(l.srv.opt.Handshake)
	} else if c.https {
		c.tls = newServerSide(l, c, ln.TLS)
		c.deadline = l.now + int64(l.srv.opt.Handshake)
	}
	if err := l.register(c, socketEvents); err != nil {
		l.left(c)
		socket.Close(fd)
		return
	}
	l.schedule(c, c.deadline)
}

// opened asks whether a connection is welcome, and refuses it if not.
func (l *loop) opened(c *sock) bool {
	if l.srv.opt.Opened != nil && !l.srv.opt.Opened(c.index, c.addr.Addr()) {
		l.clients.Add(-1)
		l.refuse(c.fd, c.index)
		return false
	}
	c.counted = true
	return true
}

// left counts a connection's end.
func (l *loop) left(c *sock) {
	l.clients.Add(-1)
	if c.counted && l.srv.opt.Closed != nil {
		l.srv.opt.Closed(c.index, c.addr.Addr())
	}
	c.counted = false
}
