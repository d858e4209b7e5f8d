package loop

import (
	"slices"
	"syscall"
	"unsafe"

	"portico/proxy/http1"
)

// session is an exchange with its two sockets. A connection has one only while there is something to do.
type session struct {
	x       http1.Exchange
	c, u    *sock
	pipes   [2]*pipe
	turn    uint32 // tells late answers to earlier look-ups
	queued  bool
	sending bool // rests until its send, which is in the loop's batch, is done
}

// pipe carries bytes from one socket to another inside the kernel.
type pipe struct{ r, w int32 }

// begin gives a client connection a session.
func (l *loop) begin(c *sock) *session {
	var s *session
	if n := len(l.free); n > 0 {
		s, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s = new(session)
		s.x.Waker(func() { l.post(message{what: whatWake, sess: s}) })
	}
	s.c, c.s = c, s
	name := ""
	if c.tls != nil {
		name = c.tls.serverName
	}
	s.x.Begin(&l.srv.opt.Config, &l.mem, c.addr, l.srv.locals[c.index], c.https, name, c.index, l.now)
	s.x.Peer().Lane = l.index
	if l.draining {
		s.x.Drain()
	}
	return s
}

// end takes it away again.
func (l *loop) end(s *session) {
	if s.u != nil {
		l.closeUpstream(s.u)
	}
	for i := range s.pipes {
		l.freePipe(s, i)
	}
	s.x.Release()
	s.turn++
	s.queued = false
	if s.c != nil {
		s.c.s = nil
		s.c = nil
	}
	if len(l.free) < keptBuffers {
		l.free = append(l.free, s)
	}
}

// woken lets a parked request look again; one that went on meanwhile does not care.
func (l *loop) woken(s *session) {
	if s.c == nil || s.queued || !s.x.Parked() {
		return
	}
	s.x.Now(l.now)
	s.x.Wake()
	l.drive(s)
}

// clientEvent: something happened to a client's connection.
func (l *loop) clientEvent(c *sock, ev uint32) {
	if ev&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.hup = true
	}
	if ev&(syscall.EPOLLIN|syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.ready = true
	}
	switch {
	case c.tls != nil && !l.tlsEvent(c, ev):
		return
	case c.proxy != nil:
		l.readProxy(c)
		return
	}
	s := c.s
	if s == nil {
		if !c.ready {
			return
		}
		s = l.begin(c)
	}
	s.x.Now(l.now)
	if c.ready {
		s.x.Allow(http1.ReadClient)
	}
	if ev&syscall.EPOLLOUT != 0 {
		s.x.Allow(http1.WriteClient)
	}
	if ev&syscall.EPOLLERR != 0 {
		s.x.ClientGone()
	}
	if !s.queued && !s.sending {
		l.drive(s)
	}
}

// upstreamEvent: something happened to an upstream's connection.
func (l *loop) upstreamEvent(u *sock, ev uint32) {
	if ev&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		u.hup = true
	}
	u.ready = u.ready || ev&^uint32(syscall.EPOLLOUT) != 0
	if u.tls != nil && !u.connecting && !l.tlsEvent(u, ev) {
		return
	}
	s := u.s
	if s == nil {
		// Bytes or an end on an idle connection: nothing that could be an answer to anybody.
		if u.ready {
			l.closeUpstream(u)
		}
		return
	}
	s.x.Now(l.now)
	if u.connecting {
		l.connected(s, u)
	}
	if s.u == u {
		if u.ready {
			s.x.Allow(http1.ReadUpstream)
		}
		if ev&(syscall.EPOLLOUT|syscall.EPOLLERR|syscall.EPOLLHUP) != 0 {
			s.x.Allow(http1.WriteUpstream)
		}
	}
	if !s.queued && !s.sending {
		l.drive(s)
	}
}

// drive does what the exchange wants until it wants to wait or has used up its turn.
func (l *loop) drive(s *session) {
	l.work += byteBudget - l.perform(s)
}

// perform is drive; it returns what is left of the budget.
func (l *loop) perform(s *session) int {
	budget, each := byteBudget, 1
	if s.c.tls != nil {
		each = cipherWork
	}
	for budget > 0 {
		budget -= opWork
		op := s.x.Next()
		switch op {
		case http1.OpWait:
			if at := s.x.Deadline(); at != 0 {
				l.wheel.schedule(s.c, at)
			}
			return budget
		case http1.OpIdle:
			l.idle(s)
			return budget
		case http1.OpReadClient:
			n, res := l.readSock(s.c, s.x.Space(http1.Client))
			s.x.Read(http1.Client, n, res)
			budget -= n * each
		case http1.OpReadUpstream:
			n, res := l.readSock(s.u, s.x.Space(http1.Up))
			s.x.Read(http1.Up, n, res)
			budget -= n * each
		case http1.OpWriteClient:
			a, b := s.x.Pending(http1.Client)
			if l.gather(s, s.c, http1.Client, a, b) {
				return budget - (len(a)+len(b))*each
			}
			n, res := l.writeSock(s.c, a, b)
			s.x.Wrote(http1.Client, n, res)
			budget -= n * each
		case http1.OpWriteUpstream:
			a, b := s.x.Pending(http1.Up)
			if l.gather(s, s.u, http1.Up, a, b) {
				return budget - (len(a)+len(b))*each
			}
			n, res := l.writeSock(s.u, a, b)
			s.x.Wrote(http1.Up, n, res)
			budget -= n * each
		case http1.OpSpliceDown:
			budget -= l.splice(s, true)
		case http1.OpSpliceUp:
			budget -= l.splice(s, false)
		case http1.OpConnect:
			l.connect(s)
		case http1.OpReleaseUpstream:
			u := s.u
			s.u, u.s = nil, nil
			u.pool.put(u)
		case http1.OpDropUpstream:
			if s.u != nil {
				l.closeUpstream(s.u)
			}
		case http1.OpShutUpstream:
			l.shut(s.u)
		case http1.OpShutClient:
			l.shut(s.c)
		default:
			l.finish(s, op)
			return budget
		}
	}
	if !s.queued {
		s.queued = true
		l.queue = append(l.queue, s)
	}
	return budget
}

// idle lets a connection wait for its next request without owning anything.
func (l *loop) idle(s *session) {
	c := s.c
	l.end(s)
	if c.hup && c.tls == nil {
		l.closeClient(c)
		return
	}
	if c.slot != 0 { // what has come belongs to the next request
		l.clientEvent(c, syscall.EPOLLIN)
		return
	}
	c.ready = false
	c.deadline = l.now + int64(l.srv.opt.Timeouts.Idle)
	l.wheel.schedule(c, c.deadline)
}

// finish ends an exchange together with its connection.
func (l *loop) finish(s *session, op http1.Op) {
	c := s.c
	switch op {
	case http1.OpHandover:
		l.handover(c, append(slices.Clip(s.x.Leftover()), l.rest(c)...))
		l.end(s)
	case http1.OpAbort:
		l.end(s)
		l.resetClient(c)
	default:
		l.end(s)
		l.closeClient(c)
	}
}

func (l *loop) readSock(s *sock, b []byte) (int, http1.Result) {
	if s == nil {
		return 0, http1.Failed
	}
	if len(b) == 0 {
		return 0, http1.Failed // a message that fits no buffer
	}
	if s.tls != nil {
		return l.readTLS(s, b)
	}
	return l.readPlain(s, b)
}

// readPlain reads what the socket has, and notes whether that was all.
func (l *loop) readPlain(s *sock, b []byte) (int, http1.Result) {
	if s.slot != 0 {
		return l.take(s, b)
	}
	r, e := rawRead(s.fd, b)
	n := int(r)
	switch {
	case e != 0:
		if e == syscall.EAGAIN {
			s.ready = false
		}
		return 0, result(e)
	case n == 0:
		s.hup = true
		return 0, http1.EOF
	}
	s.bulky = n >= earlySize
	if n < len(b) && !s.hup {
		s.ready = false // edge-triggered: what comes now makes a new event
		return n, http1.Blocked
	}
	return n, http1.More
}

func (l *loop) writeSock(s *sock, a, b []byte) (int, http1.Result) {
	if s == nil {
		return 0, http1.Failed
	}
	if s.tls != nil {
		return l.writeTLS(s, a, b)
	}
	var n uintptr
	var e syscall.Errno
	switch {
	case len(b) == 0:
		n, e = rawWrite(s.fd, a)
	case len(a) == 0:
		n, e = rawWrite(s.fd, b)
	default:
		n, e = rawWritev(s.fd, a, b)
	}
	if e != 0 {
		return 0, result(e)
	}
	if int(n) < len(a)+len(b) {
		return int(n), http1.Blocked
	}
	return int(n), http1.More
}

func (l *loop) shut(s *sock) {
	if s == nil {
		return
	}
	if s.tls != nil {
		l.shutTLS(s)
		return
	}
	shutdown(s.fd)
}

// closeClient closes a connection that has no session, once what it still owes was written.
func (l *loop) closeClient(c *sock) {
	if c.tls != nil {
		if !l.closeTLS(c) {
			return
		}
		l.unstore(c.tls)
	}
	l.forget(c)
	closeFD(c.fd)
	l.left(c)
}

func (l *loop) resetClient(c *sock) {
	if c.tls != nil && c.tls.state == tlsShaking {
		c.tls.abort()
		return
	}
	l.forget(c)
	resetFD(c.fd)
	l.left(c)
}

// readProxy takes a PROXY protocol header off a fresh connection.
func (l *loop) readProxy(c *sock) {
	for {
		have := len(c.proxy)
		n := 0
		// One byte at a time behind the fixed part would be slow, but too much would be the client's next bytes: peek, then take.
		room := c.proxy[have:cap(c.proxy)]
		m, _, e := syscall.Syscall6(syscall.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(room))), uintptr(len(room)), syscall.MSG_PEEK, 0, 0)
		if e == syscall.EAGAIN {
			c.ready = false
			return
		}
		if e != 0 || m == 0 {
			l.closeClient(c)
			return
		}
		size, src, _, err := http1.ParseProxy(c.proxy[:have+int(m)])
		if err != nil {
			l.closeClient(c)
			return
		}
		if n = int(m); size > 0 {
			n = size - have
		}
		rawRead(c.fd, room[:n])
		c.proxy = c.proxy[:have+n]
		if size == 0 {
			continue
		}
		c.proxy = nil
		if src.IsValid() {
			c.addr = src
		}
		if l.srv.opt.Opened != nil && !l.srv.opt.Opened(c.index, c.addr.Addr()) {
			l.closeClient(c)
			return
		}
		c.counted = true
		if ln := &l.srv.opt.Listeners[c.index]; ln.TLS != nil {
			c.tls = newServerSide(l, c, ln.TLS)
		} else {
			c.deadline = l.now + int64(l.srv.opt.Timeouts.Idle)
		}
		l.clientEvent(c, syscall.EPOLLIN)
		return
	}
}
