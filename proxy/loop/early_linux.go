package loop

import (
	"syscall"

	"portico/proxy/exchange"
	"portico/proxy/loop/uring"
	"portico/proxy/wire"
)

const (
	earlySize = 4 << 10 // bytes received early from one socket
)

// early is what was received from several sockets with one system call, before the exchanges that want it are asked. Only sockets whose
// event has come and whose exchange waits for just these bytes take part, so that they are used at once; what is left over for
// whatever reason is kept for the next read.
type early struct {
	until    int // of the loop's events: those before have been looked at
	n        int // arrivals in use
	unread   int
	arrivals [batchSize]arrival
	kept     map[*sock]*arrival
	spare    []*arrival // for kept
}

// arrival is the outcome of one receive.
type arrival struct {
	s    *sock
	from []byte // not yet read
	res  int32  // what the system call returned
	buf  []byte
}

// keptSlot marks a socket whose arrival is in early.kept; other numbers are those of arrivals, and one more.
const keptSlot = 255

// receive receives for the next events of the turn.
func (l *loop) receive() {
	e := &l.early
	e.until = min(l.done+batchSize, l.got)
	e.n, e.unread = 0, 0
	if l.batch.ring == nil || l.draining {
		return
	}
	for i := l.done; i < e.until; i++ {
		if s := l.eager(&l.buf[i]); s != nil {
			a := &e.arrivals[e.n]
			if a.buf == nil {
				a.buf = make([]byte, earlySize)
			}
			a.s = s
			e.n++
		}
	}
	if e.n < l.batch.least {
		e.n = 0
		return
	}
	for i := range e.n {
		a := &e.arrivals[i]
		l.batch.ring.Queue(uring.Receive, a.s.fd, a.buf, uint64(i))
	}
	if !l.batch.ring.Submit(uint32(e.n), l.arrived) {
		l.dropRing()
	}
}

// eager returns the socket of an event when its bytes are waited for.
func (l *loop) eager(ev *syscall.EpollEvent) *sock {
	if ev.Events&syscall.EPOLLIN == 0 || int(ev.Fd) >= len(l.socks) {
		return nil
	}
	s := l.socks[ev.Fd]
	if s == nil || s.gen != uint32(ev.Pad) || s.slot != 0 || s.bulky || s.connecting || s.proxy != nil ||
		s.tls != nil && (s.tls.state != tlsOpen || s.tls.closing) || s.h2 != nil && s.h2.full {
		return nil
	}
	x := s.s
	switch s.kind {
	case kindClient:
		if x == nil || !x.sending && !x.queued && x.x.Reads()&exchange.ReadClient != 0 {
			return s
		}
	case kindUpstream:
		if x != nil && !x.sending && !x.queued && x.x.Reads()&exchange.ReadUpstream != 0 {
			return s
		}
	case kindListener, kindWake, kindStream, kindCall:
	}
	return nil
}

// arrived takes the outcome of a receive.
func (l *loop) arrived(data uint64, res int32) {
	a := &l.early.arrivals[data]
	a.res, a.from = res, a.buf[:max(res, 0)]
	a.s.slot = uint8(data) + 1
	l.early.unread++
}

// take is a read of what was received early.
func (l *loop) take(s *sock, b []byte) (int, wire.Result) {
	var a *arrival
	if s.slot == keptSlot {
		a = l.early.kept[s]
	} else {
		a = &l.early.arrivals[s.slot-1]
	}
	kept := s.slot == keptSlot
	n := copy(b, a.from)
	if a.from = a.from[n:]; len(a.from) > 0 {
		return n, wire.More
	}
	l.used(s)
	switch {
	case a.res < 0:
		e := syscall.Errno(-a.res)
		if e == syscall.EAGAIN {
			s.ready = false
		}
		return 0, s.failed(e)
	case a.res == 0:
		return 0, s.ended()
	case kept: // an event that has come since has told of bytes behind these
		s.ready = true
		return n, wire.More
	case a.res < earlySize && !s.hup && !s.split:
		s.ready = false // edge-triggered: what comes now makes a new event
		return n, wire.Blocked
	}
	s.bulky = a.res == earlySize
	return n, wire.More
}

// used forgets what was received early for a socket.
func (l *loop) used(s *sock) {
	if s.slot == keptSlot {
		a := l.early.kept[s]
		delete(l.early.kept, s)
		if a.s = nil; len(l.early.spare) < batchSize {
			l.early.spare = append(l.early.spare, a)
		}
	} else {
		l.early.unread--
	}
	s.slot = 0
}

// keep puts aside what nobody has read when the events that it came with are done.
func (l *loop) keep() {
	e := &l.early
	for i := range e.arrivals[:e.n] {
		a := &e.arrivals[i]
		if a.s.slot == uint8(i)+1 {
			l.used(a.s)
			if a.res <= 0 { // the next read finds out itself, but for an error, which the kernel tells once
				if a.res < 0 {
					a.s.failed(syscall.Errno(-a.res))
				}
				a.s.ready = true
				continue
			}
			if e.kept == nil {
				e.kept = make(map[*sock]*arrival)
			}
			e.kept[a.s] = e.lay(a)
			a.s.slot = keptSlot
		}
	}
}

// lay moves an arrival to a place of its own, with its buffer.
func (e *early) lay(a *arrival) *arrival {
	var k *arrival
	if n := len(e.spare); n > 0 {
		k, e.spare = e.spare[n-1], e.spare[:n-1]
	} else {
		k = new(arrival)
	}
	buf := k.buf
	*k = *a
	a.buf = buf
	return k
}
