package loop

import (
	"syscall"
	"unsafe"

	"portico/proxy/exchange"
	"portico/proxy/http1"
	"portico/proxy/loop/socket"
	"portico/proxy/wire"
)

// session is an exchange with its two sockets. A connection has one only while there is something to do.
type session struct {
	x       exchange.Exchange
	c, u    *sock
	pipes   [2]*pipe
	asked   *question // whose answer the attempt waits for
	stream  *h2Stream // kept from one use to the next; nil before it was needed
	call    *call     // likewise
	queued  bool
	sending bool // rests until its send, which is in the loop's batch, is done
}

// spare returns a session that serves nobody.
func (l *loop) spare() *session {
	if s, ok := l.free.Take(); ok {
		return s
	}
	s := new(session)
	s.x.Waker(func() { l.post(message{kind: messageWake, sess: s}) })
	return s
}

// serve makes a session that of a client's connection, or, with as, of one of its streams.
func (l *loop) serve(s *session, c, as *sock) {
	s.c, as.s = as, s
	name := ""
	if c.tls != nil {
		name = c.tls.serverName
	}
	s.x.Begin(&l.srv.opt.Config, &l.mem, c.addr, l.srv.locals[c.index], c.https, name, c.index, l.now)
	s.x.Peer().Lane = l.index
	if c.served {
		s.x.Served()
	}
}

// begin gives a client connection a session.
func (l *loop) begin(c *sock) *session {
	s := l.spare()
	l.serve(s, c, c)
	for u := c.own; u != nil; u = u.idleNext {
		s.x.Own(u.pool.up)
	}
	if l.draining {
		s.x.Drain()
	}
	return s
}

// keptSessions wait for the next client; more go back to the garbage collector.
const keptSessions = 1024

// end takes it away again.
func (l *loop) end(s *session) {
	if s.u != nil {
		l.closeUpstream(s.u)
	}
	for i := range s.pipes {
		l.freePipe(s, i)
	}
	s.x.Release()
	l.unwait(s)
	s.asked = nil
	if s.c != nil && s.c.kind == kindStream {
		s.c.h2.remove(s)
	}
	s.queued = false
	if s.c != nil {
		s.c.s = nil
		s.c = nil
	}
	l.free.Keep(s, keptSessions)
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
	c.split = c.split || ev&syscall.EPOLLPRI != 0
	if ev&(syscall.EPOLLIN|syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.ready = true
	}
	switch {
	case c.tls != nil && !l.tlsEvent(c, ev):
		return
	case c.proxy != nil:
		l.readProxy(c)
		return
	case c.h2 != nil:
		l.h2Event(c.h2, ev)
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
		s.x.Allow(exchange.ReadClient)
	}
	if ev&syscall.EPOLLOUT != 0 {
		s.x.Allow(exchange.WriteClient)
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
	u.split = u.split || ev&syscall.EPOLLPRI != 0
	u.ready = u.ready || ev&^uint32(syscall.EPOLLOUT) != 0
	if u.tls != nil && !u.connecting && !l.tlsEvent(u, ev) {
		return
	}
	if u.line != nil {
		l.lineEvent(u, ev)
		return
	}
	s := u.s
	if s == nil {
		if u.hup || !l.silent(u) { // an answer to nobody
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
			s.x.Allow(exchange.ReadUpstream)
		}
		if ev&(syscall.EPOLLOUT|syscall.EPOLLERR|syscall.EPOLLHUP) != 0 {
			s.x.Allow(exchange.WriteUpstream)
		}
	}
	if !s.queued && !s.sending {
		l.drive(s)
	}
}

// drive does what the exchange wants until it wants to wait or has used up its turn.
func (l *loop) drive(s *session) {
	if s.c.kind == kindStream {
		l.driveStream(s)
		return
	}
	each := 1
	if s.c.tls != nil {
		each = cipherWork
	}
	l.work += byteBudget - l.perform(s, byteBudget, each, opWork)
}

// perform is drive within a budget, of which each byte that is moved takes so much. An operation takes opWork of it, or only so much where
// it does not enter the kernel by itself. It returns what is left.
func (l *loop) perform(s *session, budget, each, work int) int {
	enter := opWork - work
	for budget > 0 {
		budget -= work
		op := s.x.Next()
		switch op {
		case exchange.OpWait:
			if s.c.hup {
				s.x.ClientEnded()
			}
			if at := s.x.Deadline(); at != 0 {
				l.schedule(s.c, at)
			}
			return budget
		case exchange.OpIdle:
			l.idle(s)
			return budget
		case exchange.OpReadClient:
			n, res := l.readSock(s.c, s.x.Space(exchange.Client))
			s.x.Read(exchange.Client, n, res)
			budget -= n * each
		case exchange.OpReadUpstream:
			if s.u != nil && s.u.slot == 0 {
				budget -= enter
			}
			n, res := l.readSock(s.u, s.x.Space(exchange.Up))
			if res == wire.EOF && s.u.unread() {
				s.x.Unread()
			}
			s.x.Read(exchange.Up, n, res)
			budget -= n * each
		case exchange.OpWriteClient:
			a, b := s.x.Pending(exchange.Client)
			if l.gather(s, s.c, exchange.Client, a, b) {
				return budget - (len(a)+len(b))*each
			}
			n, res := l.writeSock(s.c, a, b)
			s.x.Wrote(exchange.Client, n, res)
			budget -= n * each
		case exchange.OpWriteUpstream:
			a, b := s.x.Pending(exchange.Up)
			if l.gather(s, s.u, exchange.Up, a, b) {
				return budget - (len(a)+len(b))*each
			}
			budget -= enter
			n, res := l.writeSock(s.u, a, b)
			s.x.Wrote(exchange.Up, n, res)
			budget -= n * each
		case exchange.OpSpliceDown:
			budget -= l.splice(s, true)
		case exchange.OpSpliceUp:
			budget -= l.splice(s, false)
		case exchange.OpConnect:
			budget -= enter
			l.connect(s)
		case exchange.OpReleaseUpstream:
			u := s.u
			if u.kind == kindCall {
				l.endCall(s)
				break
			}
			s.u, u.s = nil, nil
			u.pool.put(u, s.x.KeepFor())
		case exchange.OpKeepUpstream:
			l.own(s)
		case exchange.OpDropUpstream:
			if s.u != nil {
				l.closeUpstream(s.u)
			}
		case exchange.OpShutUpstream:
			l.shut(s.u)
		case exchange.OpShutClient:
			l.shut(s.c)
		default:
			l.finish(s, op)
			return budget
		}
	}
	l.enqueue(s)
	return budget
}

// enqueue lets a session go on in the next turn.
func (l *loop) enqueue(s *session) {
	switch {
	case s.queued:
	case s.c.kind == kindStream:
		s.c.h2.queued++
		l.listH2(s.c.h2) // a send that ends late does so behind the turn's look at the connections
	default:
		l.queue = append(l.queue, s)
	}
	s.queued = true
}

// idle lets a connection wait for its next request without owning anything.
func (l *loop) idle(s *session) {
	c := s.c
	c.served = s.x.HasServed()
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
	l.slack(c)
	l.schedule(c, c.deadline)
}

// finish ends an exchange together with its connection.
func (l *loop) finish(s *session, op exchange.Op) {
	c := s.c
	if c.kind == kindStream {
		l.finishStream(s, op)
		return
	}
	switch op {
	case exchange.OpAbort:
		l.end(s)
		l.resetClient(c)
	default:
		l.end(s)
		l.closeClient(c)
	}
}

func (l *loop) readSock(s *sock, b []byte) (int, wire.Result) {
	if s == nil {
		return 0, wire.Failed
	}
	if len(b) == 0 {
		return 0, wire.Failed // a message that fits no buffer
	}
	switch {
	case s.tls != nil:
		return l.readTLS(s, b)
	case s.kind == kindStream:
		return readStream(s.s, b)
	case s.kind == kindCall:
		return l.readCall(s.s, b)
	}
	return l.readPlain(s, b)
}

// readPlain reads what the socket has, and notes whether that was all.
func (l *loop) readPlain(s *sock, b []byte) (int, wire.Result) {
	if s.slot != 0 {
		return l.take(s, b)
	}
	r, e := socket.Read(s.fd, b)
	n := int(r)
	switch {
	case e != 0:
		if e == syscall.EAGAIN {
			s.ready = false
		}
		return 0, s.failed(e)
	case n == 0:
		return 0, s.ended()
	}
	s.bulky = n >= earlySize
	if n < len(b) && !s.hup && !s.split {
		s.ready = false // edge-triggered: what comes now makes a new event
		return n, wire.Blocked
	}
	return n, wire.More
}

// ended is what a read of nothing means.
func (s *sock) ended() wire.Result {
	s.hup = true
	if s.reset {
		return wire.Failed
	}
	return wire.EOF
}

func (l *loop) writeSock(s *sock, a, b []byte) (int, wire.Result) {
	if s == nil {
		return 0, wire.Failed
	}
	switch {
	case s.tls != nil:
		n, res := l.writeTLS(s, a, b)
		s.reset = s.reset || res == wire.Failed
		return n, res
	case s.kind == kindStream:
		return writeStream(s.s, a, b)
	case s.kind == kindCall:
		return l.writeCall(s.s, a, b)
	}
	var n uintptr
	var e syscall.Errno
	switch {
	case len(b) == 0:
		n, e = socket.Write(s.fd, a)
	case len(a) == 0:
		n, e = socket.Write(s.fd, b)
	default:
		n, e = socket.Writev(s.fd, a, b)
	}
	if e != 0 {
		return 0, s.failed(e)
	}
	if int(n) < len(a)+len(b) {
		return int(n), wire.Blocked
	}
	return int(n), wire.More
}

func (l *loop) shut(s *sock) {
	if s == nil {
		return
	}
	switch {
	case s.tls != nil:
		l.shutTLS(s)
	case s.kind == kindStream:
		shutStream(s.s)
	case s.kind == kindCall:
		s.s.call.x.Write(nil, nil, true)
		l.listLine(s.line)
	default:
		socket.Shutdown(s.fd)
	}
}

// closeClient closes a connection that has no session, once what it still owes was written.
func (l *loop) closeClient(c *sock) {
	l.closeOwn(c)
	if c.h2 != nil {
		l.endH2(c.h2)
	}
	if c.tls != nil {
		if !l.closeTLS(c) {
			return
		}
		l.unstore(c.tls)
	}
	l.forget(c)
	socket.Close(c.fd)
	l.left(c)
}

func (l *loop) resetClient(c *sock) {
	l.closeOwn(c)
	if c.h2 != nil {
		l.endH2(c.h2)
	}
	if c.tls != nil && c.tls.state == tlsShaking {
		c.tls.abort()
		return
	}
	l.forget(c)
	socket.Reset(c.fd)
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
		socket.Read(c.fd, room[:n])
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
